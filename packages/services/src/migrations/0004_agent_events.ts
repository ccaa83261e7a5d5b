import type { Migration } from "./index.ts"

/** An audit trail that no code can forget to write: the database itself does. */
export const migration0004: Migration = {
  id: 4,
  name: "agent_events",
  statements: [
    `CREATE TABLE agent_events (
      id INTEGER PRIMARY KEY,
      agent_id TEXT NOT NULL REFERENCES agents (id),
      event TEXT NOT NULL,
      at INTEGER NOT NULL
    ) STRICT`,
    "INSERT INTO agent_events (agent_id, event, at) SELECT id, 'created', created_at FROM agents ORDER BY created_at, id",
    "CREATE INDEX agent_events_agent ON agent_events (agent_id, at)",
    `CREATE TRIGGER agents_created AFTER INSERT ON agents BEGIN
      INSERT INTO agent_events (agent_id, event, at) VALUES (NEW.id, 'created', NEW.created_at);
    END`,
    `CREATE TRIGGER agents_status AFTER UPDATE OF status ON agents WHEN NEW.status <> OLD.status BEGIN
      INSERT INTO agent_events (agent_id, event, at) VALUES (NEW.id, NEW.status, NEW.updated_at);
    END`,
  ],
  changes: [{ _tag: "TableAdded", table: "agent_events" }],
}
