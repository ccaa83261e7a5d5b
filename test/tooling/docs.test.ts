/** The documents against the code: what can be looked up of them is looked up. */
import assert from "node:assert/strict"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { describe, it } from "vitest"
import { commands } from "../../packages/cli/src/Commands.ts"
import { commandTree } from "../../packages/cli/src/CommandTree.ts"
import { makeCompletions } from "../../packages/cli/src/commands/Completions.ts"
import { upgrade } from "../../packages/cli/src/commands/Upgrade.ts"
import { root as rootCommand } from "../../packages/cli/src/Root.ts"
import { readUsage } from "../../packages/cli/src/Usage.ts"
import { LockBusy } from "../../packages/domain/src/DataErrors.ts"
import { JournalRecord } from "../../packages/domain/src/JournalRecord.ts"
import { ToolRequest } from "../../packages/domain/src/ToolProtocol.ts"
import { faults } from "../../scripts/build.mts"
import { root } from "../../scripts/lib/repo.mts"

const read = (path: string): string => readFileSync(join(root, path), "utf8")
const inDirectory = (directory: string): ReadonlyArray<string> =>
  readdirSync(join(root, directory))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(directory, name))
const packages = readdirSync(join(root, "packages"))
const documents = [
  "README.md",
  "SECURITY.md",
  "CONTRIBUTING.md",
  ...inDirectory("docs"),
  ...inDirectory("docs/decisions"),
  ...packages.map((name) => `packages/${name}/README.md`).filter((path) => existsSync(join(root, path))),
]

/** A heading's anchor, as GitHub makes it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-")
const anchorsIn = (text: string): ReadonlyArray<string> =>
  [...text.replace(/```[\s\S]*?```/g, "").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    anchorOf(heading),
  )

describe("the documents", () => {
  it("lead to files and headings that are there", () => {
    const lost = documents.flatMap((path) =>
      [...read(path).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, link = ""]) => link)
        .filter((link) => !/^[a-z]+:/.test(link))
        .filter((link) => {
          const [file = "", anchor] = link.split("#")
          const target = file === "" ? join(root, path) : resolve(root, dirname(path), file)
          if (!existsSync(target)) return true
          return anchor !== undefined && !anchorsIn(readFileSync(target, "utf8")).includes(anchor)
        })
        .map((link) => `${path}: ${link}`),
    )
    assert.deepEqual(lost, [])
  })

  it("name source files that are there", () => {
    const sources =
      /`((?:packages|scripts|test|docs)\/[\w./-]+|(?:domain|services|daemon|cli)\/src\/[\w./-]+|migrations\/\w+\.ts)`/g
    const placeOf = (name: string) =>
      /^(domain|services|daemon|cli)\/src/.test(name)
        ? `packages/${name}`
        : name.startsWith("migrations/")
          ? `packages/services/src/${name}`
          : name
    const lost = documents.flatMap((path) =>
      [...read(path).matchAll(sources)]
        .map(([, name = ""]) => name)
        // NNNN is a number to come; what is built is not there yet.
        .filter((name) => !/NNNN/.test(name) && !existsSync(join(root, placeOf(name))))
        .map((name) => `${path}: ${name}`),
    )
    assert.deepEqual(lost, [])
  })

  it("name scripts of this repository, and the faults that a test release can have", () => {
    const { scripts: scriptsHere }: { readonly scripts: object } = JSON.parse(read("package.json"))
    const scripts = documents.flatMap((path) =>
      [...read(path).matchAll(/npm run ([a-z]+)/g)].map(([, name = ""]) => name),
    )
    assert.deepEqual(
      scripts.filter((name) => !(name in scriptsHere)),
      [],
    )
    const [, list = ""] = /`--fault` breaks it on purpose \(([^)]*)\)/.exec(read("CONTRIBUTING.md")) ?? []
    assert.deepEqual(
      list.split(", ").map((name) => name.replaceAll("`", "")),
      faults,
    )
  })

  it("show no command that waiaas does not read", () => {
    const tree = commandTree(
      rootCommand.pipe(
        Command.withSubcommands([...commands, upgrade, makeCompletions(() => Effect.succeed([]))]),
      ),
    )
    /** Places to fill in, and what stands for any value. */
    const filled = (word: string) => word.replace(/^'(.*)'$/, "$1").replace(/^(<.*>|[A-Z]+|\$\w+)$/, "x")
    const commandsIn = (text: string) => [
      ...[...text.matchAll(/`(?:sudo )?waiaas ([^`]*)`/g)].map(([, line = ""]) => line),
      ...[...text.matchAll(/^(?:\$ )?(?:sudo )?waiaas (?!\d)(.*)$/gm)].map(([, line = ""]) => line),
    ]
    const refused = documents.flatMap((path) =>
      commandsIn(read(path)).flatMap((line) => {
        const [command = ""] = line.split(/ #| && | {2,}|\.\.\./)
        const words = command.match(/'[^']*'|\S+/g) ?? []
        const reading = readUsage(tree, words.map(filled))
        return reading._tag === "Wrong" ? [`${path}: waiaas ${command}: ${reading.usage.message}`] : []
      }),
    )
    assert.deepEqual(refused, [])
  })
})

describe("the architecture", () => {
  const text = read("docs/architecture.md")
  const graphAfter = (heading: string): ReadonlySet<string> => {
    const [, graph = ""] = /```\n([\s\S]*?)```/.exec(text.slice(text.indexOf(heading))) ?? []
    const lines = graph.split("\n").map(
      (line) =>
        line
          .replace(/\([^)]*\)/g, "")
          .split(/ {3,}(?=\S)/)
          .filter(Boolean)[0],
    )
    return new Set(lines.flatMap((line) => line?.match(/\b[A-Z][A-Za-z]+\b/g) ?? []))
  }
  /** The services whose layers a file wires. */
  const wiredIn = (...paths: ReadonlyArray<string>): ReadonlySet<string> =>
    new Set(
      paths
        .flatMap((path) => [...read(path).matchAll(/\b([A-Z][A-Za-z]+)\.layer\w*/g)])
        .map(
          ([, name = ""]) => ({ NodeFileSystem: "FileSystem", FetchHttpClient: "HttpClient" })[name] ?? name,
        ),
    )
  const sorted = (names: ReadonlySet<string>) => [...names].sort()

  it("draws the command's graph with every layer that is in it", () => {
    const wired = new Set([
      ...wiredIn("packages/cli/src/Layers.ts", "packages/cli/src/LookingLayers.ts"),
      // A layer of `Output`'s.
      "UpgradeProgress",
    ])
    assert.deepEqual(sorted(graphAfter("## The command's graph")), sorted(wired))
  })

  it("draws the daemon's graph with every layer that is in it", () => {
    const wired = new Set([
      ...wiredIn(
        "packages/daemon/src/main.ts",
        "packages/daemon/src/Serve.ts",
        "packages/daemon/src/DaemonLayers.ts",
      ),
      // Not made by a layer of their own class.
      "Facts",
      "UpdateCheck",
      "Database",
      "DatabaseTool",
    ])
    wired.delete("VersionCheck")
    assert.deepEqual(sorted(graphAfter("## The daemon's graph")), sorted(wired))
  })

  it("has every lock, in the order in which they are taken", () => {
    const rows = text.slice(text.indexOf("## Locks")).match(/^\| (\w+) \| `/gm) ?? []
    const named = rows.map((row) => /\w+/.exec(row)?.[0])
    assert.deepEqual(named, ["run", "install", "data", "tool"])
    const known: ReadonlyArray<string> = LockBusy.fields.lock.literals
    assert.deepEqual([...named].sort(), [...known].sort())
  })

  /** The tags of a union's members. */
  const tagsOf = (union: {
    readonly members: ReadonlyArray<{ readonly fields: { readonly _tag: { readonly ast: unknown } } }>
  }) => union.members.map(({ fields }) => /"([A-Z]\w+)"/.exec(String(fields._tag.ast))?.[1] ?? "")

  it("has every record of the journal, and every act of the tool", () => {
    const [, records = ""] = /```\n(Started[\s\S]*?)```/.exec(text) ?? []
    const known = tagsOf(JournalRecord)
    const lines = records.split("\n").flatMap((line) => /^[A-Z]\w+/.exec(line)?.[0] ?? [])
    assert.deepEqual(
      lines.filter((tag) => !known.includes(tag)),
      [],
    )
    assert.deepEqual(
      known.filter((tag) => !new RegExp(`\\b${tag}\\b`).test(records)),
      [],
    )
    const protocol = text.slice(text.indexOf("## Tool protocol 1"))
    assert.deepEqual(
      tagsOf(ToolRequest).filter((tag) => !protocol.includes(`\`${tag}\``)),
      [],
    )
  })

  it("says what each package may import", () => {
    const listed = [...text.matchAll(/^\| `packages\/(\w+)` \|/gm)].map(([, name = ""]) => name)
    assert.deepEqual(
      listed.sort(),
      packages.filter((name) => existsSync(join(root, "packages", name, "src"))).sort(),
    )
  })
})

describe("the decisions", () => {
  it("have their number in name and title, and one each", () => {
    const names = inDirectory("docs/decisions").map((path) => relative("docs/decisions", path))
    const wrong = names.filter((name) => {
      const number = Number(/^(\d{4})-[a-z0-9-]+\.md$/.exec(name)?.[1])
      return !read(`docs/decisions/${name}`).startsWith(`# ${number}. `)
    })
    assert.deepEqual(wrong, [])
    assert.equal(new Set(names.map((name) => name.slice(0, 4))).size, names.length)
  })
})
