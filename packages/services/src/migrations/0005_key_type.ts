import type { Migration } from "./index.ts"

export const migration0005: Migration = {
  id: 5,
  name: "key_type",
  statements: [
    "ALTER TABLE agents ADD COLUMN key_type TEXT NOT NULL DEFAULT 'ed25519'",
    "CREATE UNIQUE INDEX agents_public_key ON agents (public_key)",
  ],
  changes: [{ _tag: "ColumnAdded", table: "agents", column: "key_type" }],
}
