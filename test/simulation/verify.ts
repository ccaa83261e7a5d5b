/** What must hold at the end of every path: one of the two durable outcomes, whole, and nothing lost. */
import { foldRun } from "@waiaas/domain/JournalRecord"
import { readDocument } from "@waiaas/services/testing/SimulatedDatabase"
import { Disk } from "@waiaas/services/testing/SimulatedDisk"
import type { Node } from "@waiaas/services/testing/SimulatedDiskState"
import {
  codeIn,
  commandIn,
  database,
  dataDir,
  hidden,
  install,
  keyFile,
  NEW,
  OLD,
  schemaOf,
} from "@waiaas/services/testing/SimulatedPackage"
import type { World, WorldState } from "@waiaas/services/testing/SimulatedWorld"
import { parseJournal } from "@waiaas/services/UpgradeJournal"
import * as Either from "effect/Either"

/** The version that stands at the end, with its own data. */
export type Outcome = "new" | "old"

export class Violation extends Error {}

const expect = (holds: boolean, what: string): void => {
  if (!holds) throw new Violation(what)
}

/** A write, or a probe for permission, that was cut off: the next one of its kind takes it away. */
const passing = /^\..*\.tmp$|^\.waiaas-probe$/

const entriesOf = (disk: Disk, path: string): ReadonlyArray<string> =>
  disk.node(path)?.kind === "directory" ? disk.list(path).filter((name) => !passing.test(name)) : []

const only = (disk: Disk, path: string, allowed: RegExp): void => {
  for (const name of entriesOf(disk, path)) expect(allowed.test(name), `debris: ${path}/${name}`)
}

const walk = (path: string, node: Node, see: (path: string, node: Node) => void): void => {
  see(path, node)
  if (node.kind === "directory") for (const [name, child] of node.entries) walk(`${path}/${name}`, child, see)
}

/** The command works in this state: for processes now, and for those after a power cut. */
export const expectCommand = (state: WorldState): void => {
  const disk = new Disk(state.disk)
  const code = commandIn(disk)
  if (code === null) throw new Violation("the command does not work")
  let path = install.root
  for (const name of [...code.packageDir.slice(path.length + 1).split("/"), "dist", "bin.js"]) {
    path = `${path}/${name}`
    const node = disk.lookUp(path)
    const needed = node.kind === "directory" ? 0o055 : 0o044
    expect(node.kind === "link" || (node.mode & needed) === needed, `others may not use ${path}`)
  }
}

const textOf = (disk: Disk, path: string): string | null => {
  const node = disk.node(path)
  return node?.kind === "file" ? node.content.text : null
}

const expectEnded = (disk: Disk): void => {
  for (const name of entriesOf(disk, `${dataDir}/upgrade/journal`)) {
    if (/^\d{6}\.committed$/.test(name)) continue
    const parsed = parseJournal(textOf(disk, `${dataDir}/upgrade/journal/${name}`) ?? "")
    if (Either.isLeft(parsed)) throw new Violation(`the journal is damaged: ${parsed.left}`)
    const run = foldRun(parsed.right.records)
    expect(run === null || run.ended !== null, `the run ${name} has not ended`)
  }
}

/** Rows in the backups of a kind that would be restored as they are. */
const backupRows = (disk: Disk, kind: string): ReadonlyArray<ReadonlyArray<string>> =>
  entriesOf(disk, `${dataDir}/backups`).flatMap((name) => {
    const path = `${dataDir}/backups/${name}`
    const isWhole =
      name.startsWith(kind) && textOf(disk, `${path}/manifest.json`)?.trimEnd().endsWith("}") === true
    return isWhole && disk.node(`${path}/waiaas.db`) !== null
      ? [readDocument(disk, `${path}/waiaas.db`).rows]
      : []
  })

/** Names the outcome, or throws what is wrong with it. `both`: an upgrade may have followed a rollback. */
export const verify = (world: World, kind: "upgrade" | "rollback" | "both"): Outcome => {
  const { disk } = world
  const code = commandIn(disk)
  if (code === null) throw new Violation("the command does not work")
  expectEnded(disk)
  expect(code.packageDir === install.packageDir, `the command still points at ${code.packageDir}`)
  const daemons = world.daemons()
  expect(
    daemons.length === 1 && daemons[0]?.serving === "ok" && daemons[0].version === code.version,
    `no daemon of ${code.version} serves (${daemons.map(({ version, serving }) => `${version} ${serving}`).join(", ")}): ${world.notes.join("; ")}`,
  )
  expect(!world.notes.some((note) => note.includes("migrates")), world.notes.join("; "))
  const document = readDocument(disk, database)
  expect(document.schema === schemaOf[code.version], `${code.version} stands on schema ${document.schema}`)
  expect(new Set(document.rows).size === document.rows.length, "a row is there twice")
  const isBack = kind === "both" || (kind === "rollback" && code.version === OLD)
  const aside = isBack ? backupRows(disk, "pre-rollback").flat() : []
  for (const row of world.acknowledged)
    expect(document.rows.includes(row) || aside.includes(row), `the acknowledged row "${row}" is lost`)
  expect(textOf(disk, keyFile) === "sealed", "the keystore was changed")
  expect(textOf(disk, `${dataDir}/config.toml`) === "[daemon]\nport = 3100\n", "config.toml was changed")
  if (code.version === NEW)
    expect(
      backupRows(disk, "pre-upgrade").some((rows) => rows.includes("row 2")),
      "there is no backup to go back to",
    )
  expectTidy(disk)
  return code.version === NEW ? "new" : "old"
}

/** Nothing is left beyond what the documentation names. */
const expectTidy = (disk: Disk): void => {
  only(disk, install.hidden, /^(install\.lock|install\.holder\.json|retained)$/)
  for (const version of entriesOf(disk, hidden.retainedAll))
    expect(codeIn(disk, hidden.retained(version))?.version === version, `debris: retained ${version}`)
  only(disk, `${dataDir}/upgrade`, /^(journal|(run|data)\.lock|(run|data)\.holder\.json|probation\.json)$/)
  only(disk, `${dataDir}/data`, /^waiaas\.db(-wal|-shm)?$/)
  only(disk, `${dataDir}/backups`, /^pre-(upgrade|rollback)-/)
  only(disk, install.root, /^(@waiaas|\.waiaas|npm)$/)
  only(disk, `${install.root}/@waiaas`, /^cli$/)
  const data = disk.node(dataDir)
  if (data !== null)
    walk(dataDir, data, (path, node) => {
      if (node.kind !== "link")
        expect((node.mode & 0o077) === 0, `others may read ${path} (${node.mode.toString(8)})`)
    })
}
