/** `manifest.json` of a backup: what it holds, of which version, and how to prove it whole. */
import * as Schema from "effect/Schema"
import { Version } from "./Version.ts"

/** Why a backup was made; retention depends on it. */
export const BackupKind = Schema.Literal("pre-upgrade", "pre-rollback", "pre-migrate", "manual")
export type BackupKind = typeof BackupKind.Type

/** How many of each automatic kind are kept; `manual` ones are the operator's. */
export const retention: Record<Exclude<BackupKind, "manual">, number> = {
  "pre-upgrade": 5,
  "pre-rollback": 2,
  "pre-migrate": 2,
}

export const BackupFile = Schema.Struct({
  /** File name inside the backup's directory; never a path. */
  name: Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9._-]*$/)),
  /** Bytes. */
  size: Schema.Int.pipe(Schema.nonNegative()),
  sha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
})
export type BackupFile = typeof BackupFile.Type

export const BackupManifest = Schema.Struct({
  format: Schema.Literal(1),
  /** Highest + 1, taken under the run lock or the data lock. Order is by sequence: clocks go back. */
  sequence: Schema.Int.pipe(Schema.positive()),
  kind: BackupKind,
  /** The version that wrote the data; of an upgrade's or a rollback's own backup the one that was installed. */
  from: Version,
  /** The version that the data was about to be upgraded to. */
  to: Schema.optional(Version),
  /** Schema of the database in it. */
  schema: Schema.Int.pipe(Schema.nonNegative()),
  /** Unix seconds. */
  createdAt: Schema.Int,
  files: Schema.Array(BackupFile),
  /** sha256 over everything above, so that a flipped bit in the manifest itself is seen. */
  digest: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
})
export type BackupManifest = typeof BackupManifest.Type

export const MANIFEST_FILE = "manifest.json"
export const DATABASE_FILE = "waiaas.db"
export const CONFIG_FILE = "config.toml"

/** Directory name of a backup: readable, and unique through the sequence. */
export const backupName = (
  backup: Pick<BackupManifest, "kind" | "from" | "createdAt" | "sequence">,
): string => {
  const stamp = new Date(backup.createdAt * 1000).toISOString().replace(/[-:]|\.\d+/g, "")
  return `${backup.kind}-${backup.from}-${stamp}-${String(backup.sequence).padStart(6, "0")}`
}

/**
 * The backups that retention gives up, oldest first. Order is by sequence.
 * `keep` is the one that a rollback would take: it stays whatever its age.
 */
export const expired = <A extends Pick<BackupManifest, "kind" | "sequence">>(
  backups: ReadonlyArray<A>,
  keep?: number,
): ReadonlyArray<A> =>
  (Object.keys(retention) as Array<Exclude<BackupKind, "manual">>).flatMap((kind) =>
    backups
      .filter((backup) => backup.kind === kind)
      .sort((a, b) => b.sequence - a.sequence)
      .slice(retention[kind])
      .filter((backup) => backup.sequence !== keep)
      .reverse(),
  )
