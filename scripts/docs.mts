/** Writes the generated parts of the docs from the code that implements them; `--check` fails when they are stale. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Config, configKeys, environmentName } from "@waiaas/domain/Config"
import { exitCodeMeaning } from "@waiaas/domain/ExitCode"
import {
  irrelevantSettings,
  obeyedSettings,
  overriddenSettings,
  refusedSettings,
} from "@waiaas/domain/NpmSettings"
import { planFor, recoveryTable } from "@waiaas/domain/Recovery"
import { actionTitle, type Phase, type PhaseName, phasesOf, type RunKind } from "@waiaas/domain/UpgradePhase"
import * as Schema from "effect/Schema"
import { withPart } from "./lib/document.mts"
import { root } from "./lib/repo.mts"

const table = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string | number>>,
): ReadonlyArray<string> => {
  const line = (cells: ReadonlyArray<string | number>) => `| ${cells.join(" | ")} |`
  return [line(headings), `|${headings.map(() => "---").join("|")}|`, ...rows.map(line)]
}

const phases = (kind: RunKind): ReadonlyArray<string> =>
  table(
    ["step", "what happens", "the daemon", "taken back by"],
    phasesOf[kind].map((phase: Phase, index) => [
      `${index + 1} ${phase.title}`,
      phase.description,
      phase.daemon,
      phase.undo === null ? "nothing to take back" : actionTitle[phase.undo],
    ]),
  )

/** A rollback commits after `aside`: its later phases are never undone. */
const undoable: Record<RunKind, ReadonlyArray<PhaseName>> = {
  upgrade: phasesOf.upgrade.map(({ name }) => name),
  rollback: ["check", "stop", "aside"],
}

const titleOf = (kind: RunKind, name: PhaseName): string => {
  const index = phasesOf[kind].findIndex((phase) => phase.name === name)
  return `${index + 1} ${phasesOf[kind][index]?.title ?? name}`
}

const recoveries = (kind: RunKind): ReadonlyArray<string> => [
  ...table(
    ["failed or cut off in", "what is done, in this order", "exit code", "what is in place"],
    recoveryTable(kind, undoable[kind]).map(([phase, actions]) => [
      titleOf(kind, phase),
      actions.map((action) => actionTitle[action]).join(", "),
      phase === "check" ? "that of the cause" : 6,
      phase === "check" ? "nothing was changed" : "the previous version, with its own data",
    ]),
  ),
  `| anything after the commit | ${planFor({ begun: [], committed: true, started: { kind } })
    .actions.map((action) => actionTitle[action])
    .join(
      ", ",
    )} | 7 | ${kind === "upgrade" ? "the new version" : "the version gone back to"}, with its data |`,
]

const exitCodes = (): ReadonlyArray<string> => table(["exit code", "meaning"], exitCodeMeaning)

const limits: Readonly<Record<string, string>> = {
  "daemon.port": "1..65535",
  "daemon.hostname": "a host name or an IP address",
  "daemon.log_level": "debug, info, warning, error",
  "daemon.log_file": "a path; relative ones are below the data directory",
  "daemon.shutdown_timeout": "5..300 seconds: after that a stopping daemon ends itself",
  "daemon.update_check": "true, false: whether the daemon looks for new versions",
  "daemon.update_check_interval": "3600..604800 seconds",
  "daemon.update_registry": "an http(s) address without a user name or password",
  "daemon.update_registry_token_file":
    "a file of your own, mode 0600, with the token that the registry wants of the daemon's check; relative paths are below the data directory",
  "database.path": "a path; relative ones are below the data directory",
}

const unset: Readonly<Record<string, string>> = { "daemon.update_registry": "the registry that npm uses" }

const configuration = (): ReadonlyArray<string> => {
  const defaults: Record<string, Record<string, unknown>> = Schema.decodeUnknownSync(Config)({})
  return table(
    ["key", "default", "allowed", "environment"],
    Object.entries(configKeys).flatMap(([section, keys]) =>
      keys.map((key) => {
        const value = defaults[section]?.[key]
        const allowed = limits[`${section}.${key}`]
        if (allowed === undefined) throw new Error(`scripts/docs.mts: say what ${section}.${key} may be`)
        return [
          `\`[${section}] ${key}\``,
          value === undefined ? (unset[`${section}.${key}`] ?? "none") : `\`${JSON.stringify(value)}\``,
          allowed,
          `\`${environmentName(section, key)}\``,
        ]
      }),
    ),
  )
}

const code = (text: string) => `\`${text}\``
const overridden = (): ReadonlyArray<string> =>
  table(
    ["setting", "given", "on", "why"],
    Object.entries(overriddenSettings).map(([key, { value, use, why }]) => [
      code(key),
      code(typeof value === "string" ? value : value.join(", ")),
      { all: "every call", question: "questions", staging: "staging" }[use],
      why,
    ]),
  )
const named = (settings: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  table(
    ["setting", "why"],
    Object.entries(settings).map(([key, why]) => [code(key), why]),
  )
const irrelevant = (): ReadonlyArray<string> =>
  Object.entries(irrelevantSettings).map(
    ([why, keys]) => `- **${why[0]?.toUpperCase()}${why.slice(1)}**: ${keys.map(code).join(", ")}`,
  )

/** By document and part. */
const generated: Record<string, Record<string, () => ReadonlyArray<string>>> = {
  "README.md": { configuration, "exit codes": exitCodes },
  "docs/architecture.md": {
    "upgrade phases": () => phases("upgrade"),
    "rollback phases": () => phases("rollback"),
  },
  "docs/npm-settings.md": {
    overridden,
    obeyed: () => named(obeyedSettings),
    refused: () => named(refusedSettings),
    irrelevant,
  },
  "docs/reliability.md": {
    "upgrade recoveries": () => recoveries("upgrade"),
    "rollback recoveries": () => recoveries("rollback"),
    "exit codes": exitCodes,
  },
}

/** The picture in the README is drawn by hand; its phases are those of the code. */
const missingInPicture = (): ReadonlyArray<string> => {
  const picture = /```mermaid\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] ?? ""
  return phasesOf.upgrade
    .map(({ name }) => titleOf("upgrade", name))
    .filter((title) => !picture.includes(`["${title}`))
    .map((title) => `README.md:1: picture: has no phase "${title}"`)
}

/** What is stale, as findings in `lint`'s form; writes it unless `check`. */
export const docs = (options: { readonly check: boolean }): ReadonlyArray<string> => [
  ...Object.entries(generated).flatMap(([path, parts]) => {
    const file = join(root, path)
    const before = readFileSync(file, "utf8")
    const after = Object.entries(parts).reduce(
      (text, [name, lines]) => withPart(path, text, name, lines().join("\n")),
      before,
    )
    if (after === before) return []
    if (!options.check) writeFileSync(file, after)
    return [`${path}:1: generated part: stale, run node scripts/run.mjs scripts/docs.mts`]
  }),
  ...missingInPicture(),
]

if (import.meta.main) {
  const check = process.argv.includes("--check")
  const stale = docs({ check })
  for (const finding of stale)
    console.error(check ? finding : finding.replace(/:1: generated.*/, ": written"))
  process.exitCode = check && stale.length > 0 ? 1 : 0
}
