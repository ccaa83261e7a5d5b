/** Grows a database at schema 4 or later with agents and their history, as years of use would. */
import { randomBytes, randomUUID } from "node:crypto"
import Database from "better-sqlite3"

const eventsPerAgent = 4
const batch = 500

/** Nobody else may have the database open. Gives the number of agents that were added. */
export const fill = (path: string, bytes: number): number => {
  const database = new Database(path)
  try {
    // A power cut in the middle of a benchmark's preparation is of no interest.
    database.pragma("synchronous = OFF")
    const agent = database.prepare(
      `INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at)
       VALUES (?, ?, 'solana', 'mainnet', ?, 'active', ?, ?)`,
    )
    const event = database.prepare("INSERT INTO agent_events (agent_id, event, at) VALUES (?, ?, ?)")
    let added = 0
    const addBatch = database.transaction(() => {
      for (let index = 0; index < batch; index++, added++) {
        const id = randomUUID()
        const at = 1_700_000_000 + added
        agent.run(id, `filler-${added}`, randomBytes(32).toString("hex"), at, at)
        // A trigger has written the first one.
        for (let nth = 1; nth < eventsPerAgent; nth++) {
          event.run(id, nth % 2 === 1 ? "suspended" : "active", at + nth)
        }
      }
    })
    const size = () =>
      Number(database.pragma("page_count", { simple: true })) *
      Number(database.pragma("page_size", { simple: true }))
    while (size() < bytes) {
      addBatch()
      database.pragma("wal_checkpoint(TRUNCATE)")
    }
    return added
  } finally {
    database.close()
  }
}
