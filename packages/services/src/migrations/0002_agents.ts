import type { Migration } from "./index.ts"

export const migration0002: Migration = {
  id: 2,
  name: "agents",
  statements: [
    `CREATE TABLE agents (
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL,
      chain TEXT NOT NULL,
      network TEXT NOT NULL,
      public_key TEXT NOT NULL,
      status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL
    ) STRICT`,
  ],
  changes: [{ _tag: "TableAdded", table: "agents" }],
}
