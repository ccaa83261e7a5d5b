/** Choices from a seed: the same seed and trial number give the same choices, whatever else runs. */
import { createHash } from "node:crypto"

export class Random {
  #state: number

  constructor(...seed: ReadonlyArray<string | number>) {
    this.#state = createHash("sha256").update(JSON.stringify(seed)).digest().readUInt32LE()
  }

  /** 0 <= x < 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(of: ReadonlyArray<A>): A {
    const found = of[Math.floor(this.next() * of.length)]
    if (found === undefined) throw new Error("nothing to pick from")
    return found
  }

  /** One of the names, as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as Array<[K, number]>
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) {
      left -= weight
      if (left < 0) return name
    }
    throw new Error("nothing to pick from")
  }
}
