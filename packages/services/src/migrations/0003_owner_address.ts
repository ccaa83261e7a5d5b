import type { Migration } from "./index.ts"

export const migration0003: Migration = {
  id: 3,
  name: "owner_address",
  statements: ["ALTER TABLE agents ADD COLUMN owner_address TEXT"],
  changes: [{ _tag: "ColumnAdded", table: "agents", column: "owner_address" }],
}
