/** What clients see of an upgrade: writers that remember every acknowledged write, and a meter of the outage. */
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
