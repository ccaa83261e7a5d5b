/** What clients see of an upgrade: clients that remember every acknowledged write, and a meter of the outage. */
import { setTimeout as sleep } from "node:timers/promises"
import type { ApiClient } from "./machine.mts"

export interface Agent {
  readonly id: string
  readonly name: string
  readonly publicKey: string
}

export interface Acknowledged extends Agent {
  /** `performance.now()` when the answer was there. */
  readonly at: number
}

/** Concurrent clients that create agents until they are stopped. Refused connections, resets and 503 are tried again. */
export class Writers {
  readonly acknowledged: Array<Acknowledged> = []
  /** Answers that no retry explains. */
  readonly unexpected: Array<string> = []
  readonly #loops: ReadonlyArray<Promise<void>>
  #running = true

  constructor(client: ApiClient, { count = 4, label = "writer", pauseMs = 5 } = {}) {
    this.#loops = Array.from({ length: count }, (_, index) =>
      this.#write(client, `${label}-${index}`, pauseMs),
    )
  }

  async #write(client: ApiClient, label: string, pauseMs: number): Promise<void> {
    for (let attempt = 0; this.#running; attempt++) {
      // A new name each time: whether an unanswered write was kept is not known, and may be either.
      const name = `${label}-${attempt}`
      const answer = await client("POST", "/v1/agents", { name }, 30_000).catch(() => undefined)
      if (answer?.status === 201) {
        const { id, publicKey } = answer.json<Agent>()
        this.acknowledged.push({ id, name, publicKey, at: performance.now() })
      } else if (answer !== undefined && answer.status !== 503) {
        this.unexpected.push(`${answer.status} ${answer.text.slice(0, 200)}`)
      }
      await sleep(answer?.status === 201 ? pauseMs : 20)
    }
  }

  async stop(): Promise<ReadonlyArray<Acknowledged>> {
    this.#running = false
    await Promise.all(this.#loops)
    return this.acknowledged
  }
}

export type Status = "active" | "suspended"

export interface StatusChange {
  readonly status: Status
  /** `performance.now()` when the answer was there. */
  readonly at: number
}

/** What an agent is made in turn; then it is left alone, so that its last change can come long before a fault. */
const courses: ReadonlyArray<ReadonlyArray<Status>> = [
  ["suspended"],
  ["suspended", "active"],
  ["suspended", "active", "suspended"],
]

/** A client that suspends agents, and resumes some of them, until it is stopped. What was not answered is asked again. */
export class StatusChanges {
  /** The last acknowledged change of each agent, by id. */
  readonly acknowledged = new Map<string, StatusChange>()
  /** Agents whose last change was asked for and never answered: it may have been kept or not. */
  readonly unknown = new Set<string>()
  /** Answers that no retry explains. */
  readonly unexpected: Array<string> = []
  readonly #loop: Promise<void>
  #running = true

  /** `next`: an agent that was not given before, where there is one. */
  constructor(client: ApiClient, next: () => Pick<Agent, "id"> | undefined, { pauseMs = 20 } = {}) {
    this.#loop = this.#change(client, next, pauseMs)
  }

  async #change(
    client: ApiClient,
    next: () => Pick<Agent, "id"> | undefined,
    pauseMs: number,
  ): Promise<void> {
    for (let number = 0; this.#running; number++) {
      const agent = next()
      if (agent === undefined) await sleep(pauseMs)
      else
        for (const status of courses[number % courses.length] ?? []) {
          if (!(await this.#make(client, agent.id, status))) break
          await sleep(pauseMs)
        }
    }
  }

  /** False where the agent is gone, as after a rollback, or nobody answers any more. */
  async #make(client: ApiClient, id: string, status: Status): Promise<boolean> {
    const path = `/v1/agents/${id}/${status === "suspended" ? "suspend" : "resume"}`
    this.unknown.add(id)
    while (this.#running) {
      const answer = await client("POST", path, undefined, 30_000).catch(() => undefined)
      if (answer?.status === 200) {
        this.acknowledged.set(id, { status, at: performance.now() })
        this.unknown.delete(id)
        return true
      }
      if (answer?.status === 404) return false
      if (answer !== undefined && answer.status !== 503)
        this.unexpected.push(`${answer.status} ${answer.text.slice(0, 200)}`)
      await sleep(20)
    }
    return false
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#loop
  }
}

export interface Outage {
  /** The last answer before it and the first after it, in `performance.now()`. */
  readonly from: number
  readonly to: number
  readonly ms: number
}

/** Asks an authenticated endpoint every 10 ms; the outage is the longest time between two answers of 200. */
export class OutageMeter {
  readonly #answers: Array<number> = []
  readonly #loop: Promise<void>
  #running = true

  constructor(client: ApiClient, { path = "/v1/version", everyMs = 10 } = {}) {
    this.#loop = this.#poll(client, path, everyMs)
  }

  async #poll(client: ApiClient, path: string, everyMs: number): Promise<void> {
    while (this.#running) {
      const answer = await client("GET", path, undefined, 1000).catch(() => undefined)
      if (answer?.status === 200) this.#answers.push(performance.now())
      await sleep(everyMs)
    }
  }

  async stop(): Promise<Outage> {
    this.#running = false
    await this.#loop
    let longest: Outage = { from: 0, to: 0, ms: 0 }
    for (const [index, to] of this.#answers.entries()) {
      const from = this.#answers[index - 1] ?? to
      if (to - from > longest.ms) longest = { from, to, ms: to - from }
    }
    return longest
  }
}
