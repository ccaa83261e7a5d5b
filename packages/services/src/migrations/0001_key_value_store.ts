import type { Migration } from "./index.ts"

export const migration0001: Migration = {
  id: 1,
  name: "key_value_store",
  statements: [
    `CREATE TABLE key_value_store (
      key TEXT PRIMARY KEY,
      value TEXT NOT NULL,
      updated_at INTEGER NOT NULL
    ) STRICT`,
  ],
  changes: [{ _tag: "TableAdded", table: "key_value_store" }],
}
