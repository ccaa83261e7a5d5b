/** Two builds of one version are told apart, and neither takes the other's place by an upgrade. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, it } from "@effect/vitest"
import { packagePaths } from "@waiaas/domain/Install"
import { buildOf } from "@waiaas/services/BuildDigest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { Environment } from "@waiaas/services/platform/Environment"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeTarget } from "@waiaas/services/UpgradeTarget"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstalled, upgrade } from "./simulated.ts"
import { temporaryDirectory } from "./support.ts"

const [one, other] = ["1".repeat(64), "2".repeat(64)]
/** Of the files that a simulated package has. */
const installedBuild = Effect.gen(function* () {
  const npm = yield* NpmInstaller
  return yield* npm.build(yield* npm.install)
})
const find = (to: Option.Option<string>) =>
  Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    return yield* (yield* UpgradeTarget).find(to, databasePath)
  })
const registryWith = (named: string) => [{ version: "2.0.0", schema: 4, build: { named, installed: named } }]

it.scopedLive("the registry's other build of the installed version is named, and not installed", () =>
  Effect.gen(function* () {
    const newest = yield* find(Option.none())
    assert.include(newest.warnings.join(), "the registry's 2.0.0 is another build")
    assert.isNull(newest.refusal)
    assert.strictEqual((yield* upgrade())._tag, "UpToDate")
    const asked = yield* find(Option.some("2.0.0"))
    assert.include(asked.refusal?.message, "another build than the one that is installed")
    assert.include(asked.refusal?.next, "a version of its own")
  }).pipe(Effect.provide(layerInstalled({ releases: registryWith(other) }))),
)

it.scopedLive("the same build is up to date, without a word", () =>
  Effect.gen(function* () {
    const { code } = yield* installedBuild.pipe(Effect.provide(layerInstalled()), Effect.scoped)
    yield* Effect.gen(function* () {
      const newest = yield* find(Option.some("2.0.0"))
      assert.deepStrictEqual([newest.warnings, newest.refusal], [[], null])
    }).pipe(Effect.provide(layerInstalled({ releases: registryWith(code) })))
  }),
)

it.scopedLive("of a tarball every byte counts", () =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { packageDir } = yield* Environment
    const directory = yield* temporaryDirectory
    const packed = (name: string) => {
      execFileSync("tar", ["czf", `${name}.tgz`, "package"], { cwd: directory })
      return join(directory, `${name}.tgz`)
    }
    const from = (file: string) =>
      Effect.flatMap(Upgrade, ({ run }) =>
        run({ to: Option.none(), from: Option.some(file), restart: true, dryRun: false }),
      )
    yield* fs.copy(packageDir, join(directory, "package"))
    assert.strictEqual((yield* from(packed("same")))._tag, "UpToDate")
    yield* fs.writeFileString(join(directory, "package/LICENSE"), "another")
    const more = yield* Effect.flip(from(packed("more")))
    assert.include(more.message, "the tarball's 2.0.0 is another build")
    yield* fs.remove(join(directory, "package/LICENSE"))
    yield* fs.writeFileString(packagePaths(join(directory, "package")).tool, "// patched\n")
    assert.strictEqual((yield* Effect.flip(from(packed("other"))))._tag, "CandidateRefused")
  }).pipe(Effect.provide(layerInstalled())),
)

it.scopedLive("another build in the package's place is seen under the lock", () =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const npm = yield* NpmInstaller
    const install = yield* npm.install
    const { content } = yield* npm.build(install)
    yield* npm.expectInstalled(install, "2.0.0", content)
    yield* fs.writeFileString(packagePaths(install.packageDir).tool, "// another build\n")
    const refused = yield* Effect.flip(npm.expectInstalled(install, "2.0.0", content))
    assert.include(refused.message, "another build of 2.0.0 was installed meanwhile")
  }).pipe(Effect.provide(layerInstalled())),
)

it.scopedLive("npm's other build than the one that was judged is not taken", () =>
  Effect.gen(function* () {
    const failed = yield* Effect.flip(upgrade())
    assert.include(
      failed._tag === "RunFailed" ? failed.cause.message : failed.message,
      "npm installed another build than the one that the registry describes",
    )
  }).pipe(
    Effect.provide(
      layerInstalled({
        releases: [
          { version: "2.0.0", schema: 4 },
          { version: "2.1.0", schema: 5, build: { named: one, installed: other } },
        ],
      }),
    ),
  ),
)

/** The digest of a simulated release's code, as its tarball would name it. */
const codeOf = (version: string) =>
  buildOf(
    ["bin.js", "daemon.js", "tool.js"].map(
      (name) => [`dist/${name}`, createHash("sha256").update(`// ${version}\n`).digest("hex")] as const,
    ),
  )

for (const [title, named, works] of [
  ["is installed where it is just that", codeOf("2.1.0"), true],
  ["is no proof: bytes that changed under the same name are not run", one, false],
] as const)
  it.scopedLive(`a build that registry and package name ${title}`, () =>
    Effect.gen(function* () {
      const result = yield* Effect.either(upgrade())
      if (works) return assert.strictEqual(result._tag, "Right")
      const failed = result._tag === "Left" ? result.left : assert.fail("it was installed")
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : failed.message,
        "its code is another build than the one that its package.json names",
      )
    }).pipe(
      Effect.provide(
        layerInstalled({
          releases: [
            { version: "2.0.0", schema: 4 },
            { version: "2.1.0", schema: 5, build: { named, installed: named } },
          ],
        }),
      ),
    ),
  )
