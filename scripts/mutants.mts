/**
 * `npm run mutants [-- --room R]... [--file F]... [--share 0.2] [--seed S] [--minutes M] [--write]`: StrykerJS plants mistakes
 * in the code that the promise hangs on (scripts/mutants/rooms.mts), one at a time, and runs the Layer tests that reach each: a
 * random share of all, by the seed (default: the day). What no test
 * notices is printed with its line; what changes nothing that can be observed is listed in scripts/mutants/equivalent.json.
 * `--minutes`: no room is begun after them. `--write` puts the rooms' scores into docs/reliability.md.
 */

import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { cached } from "./lib/cache.mts"
import { machineLine, writePart } from "./lib/document.mts"
import { interruption } from "./lib/interruption.mts"
import { cleanEnv, node, npmCli, root } from "./lib/repo.mts"
import { mustRun, run } from "./lib/run.mts"
import { rooms } from "./mutants/rooms.mts"
import { isInSample, type Mutant } from "./mutants/sample.mts"

interface Tried extends Mutant {
  readonly status: string
}
/** A mutant that nothing observable tells from the code: by its text, since lines move. */
interface Equivalent {
  readonly file: string
  readonly code: string
  readonly replacement: string
  readonly reason: string
}
interface Score {
  readonly room: string
  readonly files: number
  /** Seconds. */
  readonly seconds: number
  noticed: number
  survived: number
  equivalent: number
}

const { values } = parseArgs({
  options: {
    room: { type: "string", multiple: true, default: [] },
    file: { type: "string", multiple: true, default: [] },
    share: { type: "string", default: "0.2" },
    seed: { type: "string", default: new Date().toISOString().slice(0, 10) },
    minutes: { type: "string", default: "90" },
    workers: { type: "string", default: String(availableParallelism()) },
    write: { type: "boolean", default: false },
  },
})

const share = Number(values.share)

/** StrykerJS lives below node_modules/.cache, with a lock file of its own: nothing else needs it, and it is large. */
const install = (): Promise<string> => {
  const from = (name: string) => join(root, "scripts/mutants", name)
  const key = () =>
    `mutants-${createHash("sha256")
      .update(readFileSync(from("package-lock.json")))
      .digest("hex")
      .slice(0, 16)}`
  return cached(key, async (place) => {
    for (const name of ["package.json", "package-lock.json"]) await copyFile(from(name), join(place, name))
    console.error("Installing StrykerJS ...")
    // Its peers are the repository's own vitest, which is found from below its node_modules.
    await mustRun(node, [npmCli, "ci", "--legacy-peer-deps", "--ignore-scripts", "--loglevel=error"], {
      cwd: place,
      timeoutMs: 300_000,
    })
  })
}

/** A room's name and those of its files that were asked for. */
type Room = readonly [name: string, files: ReadonlyArray<string>]

const chosen = (): ReadonlyArray<Room> => {
  const all = Object.values(rooms).flat()
  for (const name of values.room)
    if (rooms[name] === undefined)
      throw new Error(`no room ${name}: they are ${Object.keys(rooms).join(", ")}`)
  for (const file of all)
    if (!existsSync(join(root, file))) throw new Error(`rooms.mts: ${file} is not there`)
  const asked = values.file.map((part) => {
    const [file, ...more] = all.filter((name) => name.endsWith(`/${part}.ts`) || name === part)
    if (file === undefined || more.length > 0)
      throw new Error(
        `--file ${part}: ${file === undefined ? "no" : "more than one"} file of rooms.mts is that`,
      )
    return file
  })
  if (asked.length > 0)
    return Object.entries(rooms)
      .map(([name, files]): Room => [name, files.filter((file) => asked.includes(file))])
      .filter(([, files]) => files.length > 0)
  return Object.entries(rooms).filter(([name]) => values.room.length === 0 || values.room.includes(name))
}

const between = (text: string, { start, end }: Mutant["location"]): string => {
  const lines = text.split("\n").slice(start.line - 1, end.line)
  return lines
    .map((line, index) => {
      const to = index === lines.length - 1 ? end.column - 1 : undefined
      return line.slice(index === 0 ? start.column - 1 : 0, to)
    })
    .join("\n")
}

/** One line: how a mutant is named here and in equivalent.json. */
const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").trim()

const equivalents: ReadonlyArray<Equivalent> = JSON.parse(
  await readFile(join(root, "scripts/mutants/equivalent.json"), "utf8"),
)

const measure = async (stryker: string, [room, files]: Room, place: string): Promise<Score> => {
  const begun = Date.now()
  const report = join(place, "mutation.json")
  await rm(report, { force: true })
  const module = (name: string) => join(stryker, "node_modules/@stryker-mutator", name)
  const config = join(place, "stryker.config.json")
  await writeFile(
    config,
    JSON.stringify({
      plugins: [module("vitest-runner/dist/src/index.js"), join(root, "scripts/mutants/sample.mts")],
      checkers: ["sample"],
      testRunner: "vitest",
      // Processes: a thread cannot change the umask, which some tests do.
      vitest: { configFile: "scripts/mutants/vitest.config.ts", related: true, pool: "forks" },
      coverageAnalysis: "perTest",
      // A mistake in what is evaluated once, when a file is loaded, would need every test for itself.
      ignoreStatic: true,
      // TypeScript 7 has no interface that it could use; types are erased without one.
      tsconfigFile: "none.json",
      // Words, and the literals that are mostly made of them, are read by people.
      mutator: { excludedMutations: ["StringLiteral", "ObjectLiteral", "ArrayDeclaration"] },
      mutate: files,
      ignorePatterns: ["dist", "docs", "/.mutants"],
      concurrency: Number(values.workers),
      timeoutMS: 10_000,
      dryRunTimeoutMinutes: 15,
      reporters: ["json", "progress-append-only"],
      jsonReporter: { fileName: report },
      tempDirName: ".mutants",
      allowConsoleColors: false,
      logLevel: "warn",
    }),
  )
  const result = await run(node, [module("core/bin/stryker.js"), "run", config], {
    cwd: root,
    env: cleanEnv({ MUTANTS_SHARE: values.share, MUTANTS_SEED: values.seed }),
    timeoutMs: 3_600_000,
    show: true,
  })
  if (result.code !== 0 || !existsSync(report))
    throw new Error(`${room}: StrykerJS ended with ${result.code}`)
  const found = JSON.parse(await readFile(report, "utf8")) as {
    readonly files: Record<string, { readonly mutants: ReadonlyArray<Tried> }>
  }
  const score = { room, files: files.length, noticed: 0, survived: 0, equivalent: 0 }
  for (const file of files) {
    const text = await readFile(join(root, file), "utf8")
    for (const mutant of found.files[file]?.mutants ?? []) {
      const { status, location, replacement = "" } = mutant
      // What no test reaches is reported without a question to the checker.
      if (status === "NoCoverage" && !isInSample(file, mutant, share, values.seed)) continue
      if (status === "Killed" || status === "Timeout") score.noticed++
      if (status !== "Survived" && status !== "NoCoverage") continue
      const code = oneLine(between(text, location))
      const mistake = oneLine(replacement)
      const known = equivalents.some(
        (entry) => entry.file === file && entry.code === code && entry.replacement === mistake,
      )
      if (known) {
        score.equivalent++
        continue
      }
      score.survived++
      const how = status === "NoCoverage" ? "no test reaches it" : "unnoticed"
      console.log(
        `${file}:${location.start.line}: ${how}: ${JSON.stringify(code)} -> ${JSON.stringify(mistake)}`,
      )
    }
  }
  return { ...score, seconds: Math.round((Date.now() - begun) / 1000) }
}

const percent = ({ noticed, survived }: Pick<Score, "noticed" | "survived">): string =>
  noticed + survived === 0 ? "-" : `${((100 * noticed) / (noticed + survived)).toFixed(1)} %`

const row = (score: Score, day: string): string => {
  const { room, files, noticed, survived, equivalent, seconds } = score
  const mistakes = noticed + survived + equivalent
  return `| ${[room, files, mistakes, noticed, survived, equivalent, percent(score), seconds, day].join(" | ")} |`
}

const header = [
  "| room | files | mistakes | noticed | unnoticed | equivalent | noticed of what is not equivalent | seconds | on |",
  "|---|---|---|---|---|---|---|---|---|",
]

/** The table in docs/reliability.md: a room that was not measured now keeps the row, and the day, that it had. */
const write = async (scores: ReadonlyArray<Score>): Promise<void> => {
  const document = await readFile(join(root, "docs/reliability.md"), "utf8")
  const day = new Date().toISOString().slice(0, 10)
  const rows = Object.keys(rooms).flatMap((room) => {
    const score = scores.find((one) => one.room === room)
    const before = document.match(new RegExp(`^\\| ${room} \\| .*% .*$`, "m"))?.[0]
    return score !== undefined ? [row(score, day)] : before !== undefined ? [before] : []
  })
  const column = (index: number) => rows.reduce((sum, line) => sum + Number(line.split("|")[index]), 0)
  const all = {
    room: "all",
    files: column(2),
    noticed: column(4),
    survived: column(5),
    equivalent: column(6),
    seconds: column(8),
  }
  const part = [
    `\`npm run mutants -- --share ${share} --seed ${values.seed} --write\` on ${machineLine()}:`,
    "",
    ...header,
    ...rows,
    row(all, ""),
  ].join("\n")
  writePart("docs/reliability.md", "mutants", part)
}

const main = async (): Promise<void> => {
  const started = Date.now()
  const minutes = Number(values.minutes)
  if (!(minutes > 0) || !(Number(values.workers) >= 1))
    throw new Error("--minutes and --workers are numbers above 0")
  if (!(share > 0 && share <= 1)) throw new Error("--share is a number above 0, at most 1")
  if (values.write && values.file.length > 0) throw new Error("--write is for whole rooms, not with --file")
  const rooms = chosen()
  const stryker = await install()
  // What a killed run left.
  await rm(join(root, ".mutants"), { recursive: true, force: true })
  const place = join(root, ".mutants-config")
  await mkdir(place, { recursive: true })
  const scores: Array<Score> = []
  try {
    for (const room of rooms) {
      if (Date.now() - started > minutes * 60_000) {
        console.log(`${minutes} minutes are over before the room ${room[0]}.`)
        break
      }
      scores.push(await measure(stryker, room, place))
    }
  } finally {
    await rm(place, { recursive: true, force: true })
  }
  console.log(["", ...header, ...scores.map((score) => row(score, ""))].join("\n"))
  if (values.write) await write(scores)
}

await Promise.race([main(), interruption])
process.exit()
