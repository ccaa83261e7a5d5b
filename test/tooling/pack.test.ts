import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { REPOSITORY } from "@waiaas/domain/PackageName"
import { judge, rangeFor, releaseOfSchema } from "@waiaas/domain/SchemaRange"
import { isNewer, makeVersion } from "@waiaas/domain/Version"
import { describe, it } from "vitest"
import { faults, parseReleaseArgs, WrongOptions } from "../../scripts/build.mts"
import { root } from "../../scripts/lib/repo.mts"
import { publishedManifest, stopsFor } from "../../scripts/pack.mts"
import { release } from "../support/releases.mts"

describe("stops", () => {
  it("lead every older release to the candidate, and each step can migrate", () => {
    for (const candidate of releaseOfSchema) {
      const target = rangeFor(candidate.schema)
      const stops = stopsFor(target.minimum).map((stop) => makeVersion(stop))
      for (const start of releaseOfSchema.filter((line) => line.schema < candidate.schema)) {
        let at = start
        while (at.schema < target.minimum) {
          const stop = stops.find((version) => isNewer(version, at.release))
          assert.ok(stop, `${start.release} is led nowhere from ${at.release}`)
          const line = releaseOfSchema.find((one) => one.release === stop)
          assert.ok(line, `${stop} is no release of the matrix`)
          assert.equal(judge(rangeFor(line.schema), at.schema)._tag, "NeedsMigration")
          at = line
        }
        assert.equal(judge(target, at.schema)._tag, "NeedsMigration")
      }
    }
  })

  it("are none for a release that migrates every schema", () => {
    assert.deepEqual(publishedManifest("1.7.0", 3).waiaas, {
      upgradeProtocol: 1,
      schema: { minimum: 1, latest: 3 },
      stops: [],
      notes: `${REPOSITORY}/blob/main/CHANGELOG.md`,
    })
  })
})

it("only what is packed can be published: every manifest of the repository is private", () => {
  for (const path of ["package.json", ...globSync("packages/*/package.json", { cwd: root })])
    assert.equal(JSON.parse(readFileSync(join(root, path), "utf8")).private, true, path)
  assert.ok(!("private" in publishedManifest("2.1.0", 5)))
})

describe("tarball", () => {
  it("holds exactly the code and the native module, with plain modes", async () => {
    const tarball = await release("2.1.0", 5)
    const lines = execFileSync("tar", ["-tvzf", tarball], { encoding: "utf8" }).trim().split("\n")
    const files = lines.map((line) => ({ mode: line.slice(0, 10), path: line.split(/\s+/).at(-1) ?? "" }))
    const own = files.filter((file) => !file.path.startsWith("package/node_modules/"))
    assert.deepEqual(own.map((file) => file.path.slice("package/".length)).sort(), [
      "LICENSE",
      "README.md",
      "SECURITY.md",
      "dist/bin.js",
      "dist/cli.js",
      "dist/daemon.js",
      "dist/status.js",
      "dist/third-party-licenses.txt",
      "dist/tool.js",
      "docs/offline-upgrade.md",
      "docs/operator-guide.md",
      "package.json",
    ])
    for (const file of files) {
      assert.equal(file.mode, file.path === "package/dist/bin.js" ? "-rwxr-xr-x" : "-rw-r--r--", file.path)
    }
    const bundled = new Set(
      files.map(
        (file) =>
          /node_modules\/([^/]+)\/(?!node_modules\/)/.exec(
            file.path.replace(/^.*node_modules\//, "node_modules/"),
          )?.[1],
      ),
    )
    bundled.delete(undefined)
    assert.deepEqual([...bundled].sort(), ["better-sqlite3", "node-addon-api"])
  })
})

describe("the options of pack", () => {
  it("are refused in a sentence where they name nothing that there is", () => {
    for (const [args, words] of [
      [
        ["--fault", "migrat"],
        "--fault: one of migrate, migrate-live, activate, activate-live, start, crash-loop",
      ],
      [["--schema", "6"], "--schema: a migration number, 1..5"],
      [["--schema", "0"], "--schema: a migration number"],
      [["--schema", "four"], "--schema: a migration number"],
      [["--version", "2.1"], "--version: "],
      [["--frobnicate"], "Unknown option '--frobnicate'. There are --out DIR"],
      [["--schema"], "There are --out DIR"],
      [["extra"], "There are --out DIR"],
    ] as const)
      assert.throws(
        () => parseReleaseArgs("/out", args),
        (error) => error instanceof WrongOptions && error.message.includes(words),
        args.join(" "),
      )
    for (const fault of faults) assert.equal(parseReleaseArgs("/out", ["--fault", fault]).fault, fault)
  })

  it("name every fault that the code can have", () => {
    const sources = globSync("packages/*/src/**/*.ts", { cwd: root }).map((path) =>
      readFileSync(join(root, path), "utf8"),
    )
    const looked = new Set(
      sources.flatMap((text) => [...text.matchAll(/FAULT === "([a-z-]+)"/g)].map(([, name]) => name)),
    )
    assert.deepEqual([...looked].sort(), [...faults].sort())
  })
})
