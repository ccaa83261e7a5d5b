/** What every failure tells its operator to do next. */
import { assert, describe, it } from "@effect/vitest"
import * as DataErrors from "@waiaas/domain/DataErrors"
import { NpmFailureKind } from "@waiaas/domain/NpmFailure"
import * as PackageErrors from "@waiaas/domain/PackageErrors"
import * as PlaceErrors from "@waiaas/domain/PlaceErrors"
import * as RunErrors from "@waiaas/domain/RunErrors"
import { followedBy, inDataDir, withSudo } from "@waiaas/domain/Shell"
import { makeVersion } from "@waiaas/domain/Version"

const { DaemonStartFailed, OtherOwner, RecoveryPaused } = RunErrors
const version = makeVersion("2.1.0")
const [path, dataDir] = ["/home/op/.waiaas/waiaas.db", "/home/op/.waiaas"]
const told = { path, problem: "it is odd" }

/** One of each, and one for each way that its `next` can go. */
const samples = [
  new DataErrors.NotInitialised({ dataDir }),
  new DataErrors.NoWorkingDirectory({ path: "upgrade.tgz" }),
  new DataErrors.ConfigInvalid({ source: "/c.toml", key: "daemon.port", value: "x", allowed: "1..65535" }),
  ...[
    "ENOSPC",
    "EDQUOT",
    "EACCES",
    "EPERM",
    "EROFS",
    "EIO",
    "EBUSY",
    "EXDEV",
    "EMFILE",
    "ENFILE",
    "ENOENT",
    "EISDIR",
    "SQLITE_CORRUPT",
  ].map((code) => new DataErrors.FileFailed({ operation: "read", path, code })),
  ...(["install", "run", "data", "tool"] as const).map(
    (lock) => new DataErrors.LockBusy({ lock, path, holder: "upgrade, process 7" }),
  ),
  ...["no such file", "database or disk is full", "disk I/O error"].map(
    (reason) => new DataErrors.DatabaseFailed({ operation: "open it", path, reason }),
  ),
  new DataErrors.ConfigChanged({ path }),
  ...["EPERM", "EROFS", "EBUSY", "EACCES"].map(
    (code) => new PlaceErrors.PlaceNotChangeable({ path, act: "replace it", code }),
  ),
  new DataErrors.DatabaseInUse({ path, pids: [7], by: "sqlite3 (process 7)" }),
  new DataErrors.DatabaseTooNew({ schema: 6, supported: 5 }),
  new DataErrors.DatabaseTooNew({ schema: 6, supported: 5, release: version }),
  new DataErrors.DatabaseTooOld({ schema: 1, minimum: 3 }),
  new DataErrors.DatabaseTooOld({ schema: 1, minimum: 3, goThrough: version }),
  new DataErrors.MigrationHistoryDiffers(told),
  new DataErrors.MigrationFailed({ path, from: 4, to: 5, reason: "no such table" }),
  new DataErrors.KeystoreDamaged({ path, problem: "was changed" }),
  new DataErrors.BackupDamaged({ name: "b", problem: "it is cut off" }),
  new DataErrors.DataNotMigrated({ installed: "2.1.0", writtenBy: "2.0.0", backup: "pre-upgrade-2.0.0-x" }),
  new DataErrors.BackupForeign({ name: "b", agents: 2, keystore: "/home/op/.waiaas/keystore" }),
  new DataErrors.NoBackup({ wanted: "backup named b" }),
  new PackageErrors.PackageDamaged({ path: "/p/dist/daemon.js", problem: "is missing", version: "2.0.0" }),
  new PackageErrors.PackageNotMovable({ packageDir: "/usr/lib/cli", version: "2.0.0", code: "EXDEV" }),
  new PackageErrors.PackageNotMovable({ packageDir: "/usr/lib/cli", version: "2.0.0", code: "EBUSY" }),
  new PackageErrors.PackageNotMovable({ packageDir: "/usr/lib/cli", version: "2.0.0", code: "EPERM" }),
  ...[undefined, "EACCES", "EPERM", "EROFS"].map(
    (code) => new PackageErrors.NoPermission({ path: "/usr/lib/node_modules", owner: "root", code }),
  ),
  new PackageErrors.PackageNotMovable({
    packageDir: "/usr/lib/node_modules/@waiaas/cli",
    version: "2.0.0",
    code: "EXDEV",
    mount: "/usr/lib/node_modules/@waiaas",
  }),
  ...NpmFailureKind.literals.map(
    (kind) => new PackageErrors.NpmFailed({ kind, asked: "view @waiaas/cli", output: "" }),
  ),
  new PackageErrors.BadTarget({ target: "2", problem: "not an exact version" }),
  new PackageErrors.CandidateBroken({ version, problem: "it does not run" }),
  new PackageErrors.NoSpace({ path, needed: 2e9, available: 1e6 }),
  new RunErrors.DaemonSupervised({
    supervisor: "systemd",
    pid: 7,
    instead: "systemctl restart waiaas.service",
  }),
  new RunErrors.DaemonSupervised({ supervisor: "container", pid: 1, instead: "Restart the container." }),
  new RunErrors.DaemonStopTimeout({ pid: 7, waited: 35, why: "it did not die" }),
  new RunErrors.DaemonUnreachable({ address: "http://127.0.0.1:3100", problem: "no connection" }),
  new DaemonStartFailed({ version, problem: "it ended", logFile: "/l" }),
  new OtherOwner({ path, dataDir, owner: 1000, user: 1001 }),
  new OtherOwner({ path, dataDir, owner: 1000, user: 0 }),
  new RunErrors.RunDefect({ kind: "upgrade", defect: "TypeError: x is not a function" }),
  new RunErrors.VerificationFailed({ what: "the schema", expected: "5", found: "4" }),
  new RunErrors.UpgradeInProgress({ dataDir, run: 3, pid: 7, since: 1_770_000_000 }),
  new RunErrors.UnfinishedRun({ dataDir, run: 3 }),
  new RunErrors.JournalDamaged(told),
  new RunErrors.Interrupted({}),
  ...[400, 401, 404, 409, 500, 503].map(
    (status) => new RunErrors.RequestRefused({ status, problem: "no such agent" }),
  ),
  new RunErrors.RequestRefused({ status: 409, problem: "It is suspended.", instead: "waiaas agent list" }),
  new RunErrors.DaemonNotRunning(),
  new RunErrors.ListenFailed({ hostname: "127.0.0.1", port: 3100, code: "EADDRINUSE" }),
  new RunErrors.ListenFailed({ hostname: "h", port: 1, code: "EACCES", command: "waiaas restart" }),
  new DataErrors.TokenUnusable({
    path: "/home/op/.waiaas/api.token",
    problem: "it does not exist",
    missing: true,
  }),
  new RunErrors.CommandFailed({ text: "error: no\n  next: waiaas status", exitCode: 1 }),
  new RunErrors.CommandFailed({ text: "error: no", exitCode: 1 }),
]

/** Their `next` is what whoever makes them gives. */
const given = ["UnsafeDataDir", "NotNpmGlobal", "CandidateRefused", "RestartWouldFail", "Unconfirmed"]

const clumsy = (next: string): string | undefined => {
  const outside = next.replace(/`[^`]*`/g, "")
  if (!/^[A-Z]/.test(next))
    return /[.,`<]/.test(next.replace(/\S*[./]\S+/g, "")) ? "no one command" : undefined
  if (!next.endsWith(".")) return "a sentence without its end"
  if (/(?<![./])waiaas [a-z]/.test(outside)) return "a command without its backticks"
  return /\. [A-Z]/.test(next) ? "more than one sentence" : undefined
}

describe("next", () => {
  for (const error of samples)
    it(`of ${error._tag}: ${error.next}`, () => assert.isUndefined(clumsy(error.next)))

  it("of a limit of the process is about that limit, of an attribute or a mount about those, root or not", () => {
    const of = (operation: string, code: string) => new DataErrors.FileFailed({ operation, path, code })
    for (const [error, said, advice] of [
      [of("write", "EFBIG"), "would be larger than a file of this process may be", "`ulimit -f`"],
      [of("read", "EFBIG"), "larger than such a file can be", `Move ${path} to another directory`],
      [of("read", "EMFILE"), "too many files open", "`ulimit -n`"],
      [
        new RunErrors.ListenFailed({ hostname: "127.0.0.1", port: 3100, code: "EMFILE" }),
        "too many files open",
        "`ulimit -n`",
      ],
      [of("write", "E2BIG"), "the environment are too long", "Unset variables"],
      [of("run", "EAGAIN"), "no more processes", "`ulimit -u`"],
      [of("rename to", "EBUSY"), "in use, or a mount of its own", "`findmnt "],
      [of("rename to", "EXDEV"), "on another file system, or in another mount", "`findmnt --target "],
      [new PackageErrors.NoPermission({ path, owner: "root", code: "EPERM" }), "immutable", "`lsattr -d "],
      [new PackageErrors.NoPermission({ path, owner: "root", code: "EROFS" }), "read-only", "remount,rw"],
    ] as const) {
      assert.include(error.message, said)
      assert.include(error.next, advice)
      assert.notInclude(error.next, "sudo")
    }
  })

  it("names no path that is gone when its run is over", () => {
    for (const [path, left] of [
      ["/usr/lib/node_modules/.waiaas/staging-6/lib/node_modules/@waiaas/cli", "/usr/lib/node_modules"],
      ["/usr/lib/node_modules/.waiaas/outgoing-12", "/usr/lib/node_modules"],
      ["/d/upgrade/rehearsal-3/rehearsal.db", "/d/upgrade"],
      ["/d/backups/.partial-7/waiaas.db", "/d/backups"],
      ["/d/data/.restore-3-waiaas.db", "/d/data"],
      ["/d/.daemon.json.tmp", "/d"],
      ["/usr/lib/node_modules/.waiaas/retained/2.0.0", "/usr/lib/node_modules/.waiaas/retained/2.0.0"],
      ["/d/config.toml", "/d/config.toml"],
    ] as const) {
      const { message, next } = new DataErrors.FileFailed({ operation: "read", path, code: "EACCES" })
      assert.include(message, path)
      assert.strictEqual(next, `Give yourself access to ${left}, then run the command again.`)
    }
  })

  it("has a sample of every failure", () => {
    const all = [DataErrors, PackageErrors, PlaceErrors, RunErrors].flatMap((errors) =>
      Object.values(errors).flatMap((each) =>
        typeof each === "function" && "_tag" in each ? [String(each._tag)] : [],
      ),
    )
    const known = [...samples.map(({ _tag }) => _tag as string), ...given, "RecoveryPaused"]
    assert.deepStrictEqual(
      all.filter((tag) => !known.includes(tag)),
      [],
    )
  })

  it("of a paused recovery is one instruction for every cause", () => {
    const start = `waiaas start --background --data-dir ${dataDir}`
    for (const { next: remedy } of samples) {
      const paused = new RecoveryPaused({ run: 3, action: "put back", cause: "Odd.", remedy, dataDir })
      assert.isUndefined(clumsy(paused.next), paused.next)
      assert.match(paused.next, /waiaas (start|upgrade)/)
    }
    const next = (remedy: string) =>
      new RecoveryPaused({ run: 3, action: "a", cause: "c", remedy, dataDir }).next
    assert.strictEqual(next("waiaas backup list"), `Run \`waiaas backup list\`, then \`${start}\`.`)
    assert.strictEqual(
      next("Free some space on /d, then run the command again."),
      `Free some space on /d, then run \`${start}\`.`,
    )
    assert.strictEqual(next("sudo waiaas upgrade"), `sudo waiaas upgrade --data-dir ${dataDir}`)
  })

  it("names the data directory once in every command that takes it", () => {
    const place = "--data-dir '/srv/my data'"
    const named = (next: string) => inDataDir(next, "/srv/my data")
    assert.strictEqual(named("waiaas backup list"), `waiaas backup list ${place}`)
    assert.strictEqual(
      named("npm install --global @waiaas/cli@1.8.0 && waiaas start"),
      `npm install --global @waiaas/cli@1.8.0 && waiaas start ${place}`,
    )
    assert.strictEqual(
      named("Run `waiaas stop && waiaas start`, then `npm ping`."),
      `Run \`waiaas stop ${place} && waiaas start ${place}\`, then \`npm ping\`.`,
    )
    for (const same of ["waiaas --help", "waiaas agent --help", "waiaas start --data-dir /d", "npm view x"])
      assert.strictEqual(named(same), same)
    for (const { next } of samples) {
      const commands = [...named(next).matchAll(/(?<![./])waiaas [a-z][^`&]*/g)].map(([command]) => command)
      for (const command of commands.filter((each) => !each.includes("--help")))
        assert.match(command, /^(?!.*--data-dir.*--data-dir).*--data-dir/, next)
      assert.isUndefined(clumsy(named(next)))
    }
  })

  it("has sudo in every command of waiaas for whoever typed it, once", () => {
    assert.strictEqual(
      withSudo("waiaas upgrade --rollback --data-dir /d"),
      "sudo waiaas upgrade --rollback --data-dir /d",
    )
    assert.strictEqual(
      withSudo("Run `npm ping`, then `waiaas stop && waiaas start`."),
      "Run `npm ping`, then `sudo waiaas stop && sudo waiaas start`.",
    )
    for (const same of ["sudo waiaas upgrade", "sudo -u op waiaas status", "npm view x", "Report this."])
      assert.strictEqual(withSudo(same), same)
  })

  it("joins two into one", () => {
    assert.strictEqual(followedBy("Report this.", "waiaas start"), "Report this, then run `waiaas start`.")
  })
})
