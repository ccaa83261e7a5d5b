/** What is asked of the tool of a package, for how long, and what its end says: as the upgrader sees it from outside. */
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { DatabaseTooNew, FileFailed } from "@waiaas/domain/DataErrors"
import { refusedWith, ToolReply } from "@waiaas/domain/ToolProtocol"
import { makeVersion } from "@waiaas/domain/Version"
import { DatabaseTool, timeLimitFor } from "@waiaas/services/DatabaseTool"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { ProcessFailed, type ProcessResult, ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { layerDataDir, temporaryDirectory } from "./support.ts"

type Call = Parameters<ProcessRunner["Type"]["run"]>[0]
const asking = <A, E>(
  answer: Partial<ProcessResult> | ProcessFailed["reason"],
  act: (tool: DatabaseTool["Type"]) => Effect.Effect<A, E>,
) =>
  Effect.gen(function* () {
    const calls: Array<Call> = []
    const runner = Layer.succeed(ProcessRunner, {
      ...(yield* ProcessRunner),
      run: (call) => {
        calls.push(call)
        return typeof answer === "string"
          ? new ProcessFailed({ command: call.command, reason: answer, output: "the system's words" })
          : Effect.succeed({ exitCode: 0, signal: null, stdout: "", stderr: "", ...answer })
      },
    })
    const result = yield* Effect.either(Effect.flatMap(DatabaseTool, act)).pipe(
      Effect.provide(Layer.provide(DatabaseTool.layer, runner)),
    )
    return { result, call: calls[0] ?? assert.fail("nothing was asked") }
  })
const layer = layerDataDir({
  node: "/node",
  version: makeVersion("2.0.0"),
  packageDir: "/own",
  variables: { HOME: "/home/op" },
})
const line = (reply: ToolReply) => `${JSON.stringify(Schema.encodeSync(ToolReply)(reply))}\n`
const done = (result: unknown) => line({ _tag: "Done", result })
const checkpoint = (tool: DatabaseTool["Type"]) => tool.checkpoint("/pkg", "/nowhere/data/waiaas.db")

describe("the tool of a package", () => {
  it.scopedLive(
    "is run by this Node, beside the database, and locks what it works on where a run has the lock",
    () =>
      Effect.gen(function* () {
        const { paths } = yield* DataDir
        const fs = yield* FileSystem.FileSystem
        const { call, result } = yield* asking({ stdout: done(null) }, checkpoint)
        assert.strictEqual(result._tag, "Right")
        assert.deepStrictEqual(
          {
            ...call,
            timeout: Duration.toSeconds(Duration.decode(call.timeout)),
            input: JSON.parse(call.input ?? ""),
          },
          {
            command: "/node",
            args: ["/pkg/dist/tool.js"],
            cwd: "/nowhere/data",
            env: { HOME: "/home/op" },
            input: { _tag: "Checkpoint", protocol: 1, database: "/nowhere/data/waiaas.db" },
            timeout: 60,
          },
        )
        yield* fs.writeFileString(paths.toolLock, "")
        const locked = yield* asking({ stdout: done(null) }, checkpoint)
        assert.deepStrictEqual(locked.call.args, [
          "/pkg/dist/tool.js",
          "--upgrader",
          "4242",
          "--lock",
          paths.toolLock,
        ])
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("has a minute, more for a large database, and more for each sealed key that it opens", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { paths } = yield* DataDir
      for (const [bytes, seconds] of [
        [0, 60],
        [1, 61],
        [5e6, 61],
        [5e6 + 1, 62],
        [50e6, 70],
      ] as const)
        assert.strictEqual(Duration.toSeconds(timeLimitFor(bytes)), seconds)
      const database = `${yield* temporaryDirectory}/waiaas.db`
      yield* fs.writeFileString(database, "")
      yield* fs.truncate(database, 50e6)
      for (let key = 0; key < 20; key++) yield* fs.writeFileString(`${paths.keystore}/${key}`, "")
      const seconds = ({ call }: { call: Call }) => Duration.toSeconds(Duration.decode(call.timeout))
      const examine = yield* asking({}, (tool) => tool.examine("/pkg", database, "quick", {}))
      assert.strictEqual(seconds(examine), 70)
      const keys = yield* asking({}, (tool) => tool.examineKeys("/pkg", database, "quick", paths.root))
      assert.closeTo(seconds(keys), 70.6, 1e-6)
    }).pipe(Effect.provide(layer)),
  )

  const failing = (answer: Partial<ProcessResult> | ProcessFailed["reason"], packageDir = "/pkg") =>
    Effect.map(
      asking(answer, (tool) => tool.checkpoint(packageDir, "/nowhere/waiaas.db")),
      ({ result }) => (result._tag === "Left" ? result.left : assert.fail("it succeeded")),
    )

  it.scopedLive("has done nothing that counts unless its last line says so and it ended well", () =>
    Effect.gen(function* () {
      const error = (text: string) => `at once\n${text}\n    at file:1\nNode.js v24.1.0\n`
      for (const [answer, said] of [
        [{ stdout: done(null), exitCode: 1 }, /dist\/tool\.js ended with 1 and said nothing/],
        [{ stdout: "" }, /ended with 0 and said nothing/],
        [{ stdout: `${done(null)}${line({ _tag: "Progress", text: "x" })}` }, /ended with 0/],
        [{ exitCode: null, signal: "SIGKILL" }, /ended with SIGKILL/],
        [{ exitCode: 1, stderr: error("TypeError: x is none") }, /and said: TypeError: x is none/],
        [{ exitCode: 1, stderr: error("error: no such module") }, /and said: error: no such module/],
        [{ exitCode: 1, stderr: error("A bug in it") }, /and said: A bug in it/],
        [{ exitCode: 1, stderr: "one\n two \n\n" }, /and said: two/],
        [{ exitCode: 1, stderr: `error: ${"x".repeat(600)}` }, /said: error: x{493}$|said: error: x{493}\D/],
      ] as ReadonlyArray<readonly [Partial<ProcessResult>, RegExp]>)
        assert.match((yield* failing(answer)).message, said)
      // What it says before its reply is no reply.
      const { result } = yield* asking({ stdout: `starting\n{"_tag":"Odd"}\n${done(null)}\n` }, checkpoint)
      assert.strictEqual(result._tag, "Right")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("that was ended from outside, or took too long, or is damaged: what to do is said", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      assert.match((yield* failing({ exitCode: null, signal: "SIGKILL" })).next, /`free -m`/)
      const late = yield* failing("timeout")
      assert.match(late.message, /it took too long/)
      assert.match(late.next, /when the machine has less to do/)
      assert.match((yield* failing("not-found")).message, /the system's words/)
      const reinstall = "npm install --global @waiaas/cli@2.0.0"
      assert.strictEqual((yield* failing({ exitCode: 1 }, "/own")).next, reinstall)
      assert.notInclude((yield* failing({ exitCode: 1 })).next, reinstall)
      // In the middle of a run another version is in the same place.
      const own = yield* temporaryDirectory
      for (const [version, isOurs] of [
        ["2.0.0", true],
        ["2.1.0", false],
      ] as const) {
        yield* fs.writeFileString(`${own}/package.json`, JSON.stringify({ version }))
        const { next } = yield* failing({ exitCode: 1 }, own).pipe(
          Effect.provide(layerDataDir({ version: makeVersion("2.0.0"), packageDir: own })),
        )
        assert.strictEqual(next.includes("npm install"), isOurs, version)
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("refuses with its own error, which a reading act makes one of the database", () =>
    Effect.gen(function* () {
      const tooNew = new DatabaseTooNew({ schema: 6, supported: 5 })
      const missing = new FileFailed({ operation: "read", path: "/x", code: "EIO" })
      const migrating = (error: Parameters<typeof refusedWith>[0]) =>
        Effect.map(
          asking({ stdout: line(refusedWith(error)), exitCode: 1 }, (tool) =>
            tool.migrate("/pkg", "/nowhere/waiaas.db"),
          ),
          ({ result }) => (result._tag === "Left" ? result.left : assert.fail("it succeeded")),
        )
      assert.strictEqual((yield* migrating(tooNew))._tag, "DatabaseTooNew")
      const other = yield* migrating(missing)
      assert.strictEqual(other._tag, "DatabaseFailed")
      assert.include(other.message, missing.message)
      const read = yield* failing({ stdout: line(refusedWith(tooNew)), exitCode: 1 })
      assert.strictEqual(read._tag, "DatabaseFailed")
      assert.include(read.message, tooNew.message)
      const described = yield* asking({ stdout: line(refusedWith(missing)), exitCode: 1 }, (tool) =>
        tool.describe("/pkg", "/d"),
      )
      assert.strictEqual(described.result._tag === "Left" ? described.result.left._tag : "", "FileFailed")
      const odd = yield* asking({ stdout: done({ schema: "four" }) }, (tool) =>
        tool.examine("/pkg", "/nowhere/waiaas.db", "none", {}),
      )
      assert.match(String(odd.result._tag === "Left" ? odd.result.left.message : ""), /not of the protocol/)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("is asked each act with its own arguments, in their order", () =>
    Effect.gen(function* () {
      const asked = (act: (tool: DatabaseTool["Type"]) => Effect.Effect<unknown, unknown>) =>
        Effect.map(asking({}, act), ({ call }) => [JSON.parse(call.input ?? ""), call.cwd])
      const p = { protocol: 1 }
      for (const [act, request, cwd] of [
        [
          (tool) => tool.copyLive("/p", "/a/from", "/b/to"),
          { _tag: "CopyLive", from: "/a/from", to: "/b/to" },
          "/a",
        ],
        [
          (tool) => tool.compareAgents("/p", "/a/before", "/b/now", "/d"),
          { _tag: "CompareAgents", before: "/a/before", now: "/b/now", dataDir: "/d" },
          "/b",
        ],
        [
          (tool) => tool.keepSuspended("/p", "/a/db", "/b/now"),
          { _tag: "KeepSuspended", database: "/a/db", now: "/b/now" },
          "/a",
        ],
        [
          (tool) => tool.findUnique("/p", "/a/db", ["/b/one"]),
          { _tag: "FindUnique", database: "/a/db", others: ["/b/one"] },
          "/a",
        ],
        [
          (tool) => tool.compare("/p", { before: "/a/before", after: "/b/after", changes: [], limit: 3 }),
          { _tag: "Compare", before: "/a/before", after: "/b/after", changes: [], limit: 3 },
          "/b",
        ],
        [
          (tool) => tool.migrate("/p", "/a/db", "/b/before"),
          { _tag: "Migrate", database: "/a/db", before: "/b/before" },
          "/a",
        ],
        [(tool) => tool.migrate("/p", "/a/db"), { _tag: "Migrate", database: "/a/db" }, "/a"],
        [
          (tool) => tool.describe("/p", "/d", "/other.toml"),
          { _tag: "Describe", dataDir: "/d", config: "/other.toml" },
          "/d",
        ],
        [
          (tool) => tool.examineKeys("/p", "/a/db", "full", "/d", { t: ["a"] }),
          { _tag: "Examine", database: "/a/db", check: "full", tables: { t: ["a"] }, dataDir: "/d" },
          "/a",
        ],
      ] as ReadonlyArray<
        readonly [(tool: DatabaseTool["Type"]) => Effect.Effect<unknown, unknown>, object, string]
      >)
        assert.deepStrictEqual<unknown>(yield* asked(act), [{ ...request, ...p }, cwd])
    }).pipe(Effect.provide(layer)),
  )
})
