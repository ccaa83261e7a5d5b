/** Under sudo npm is root: what it obeys and installs from is nobody else's. */
import { dirname } from "node:path"
import { assert, it } from "@effect/vitest"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { type Entry, Ownership } from "@waiaas/services/platform/Ownership"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { release, scenario } from "./npm.ts"

/** A machine on which all is root's, but for these paths. */
const owned = (others: Readonly<Record<string, Partial<Entry>>>) => {
  const entry = (path: string): Entry => ({ path, uid: 0, mode: 0o755, kind: "directory", ...others[path] })
  return Ownership.of({
    entryAt: (path) => Effect.succeed(Option.some(entry(path))),
    entriesAt: (path) => Effect.succeed(path in others ? [entry(path)] : []),
    nearestAbove: (path) => Effect.succeed(entry(dirname(path))),
    linksTo: () => Effect.succeed([]),
    entriesBelow: () => Effect.succeed([]),
  })
}

const resolved = (
  others: Readonly<Record<string, Partial<Entry>>>,
  {
    settings = {},
    sudo = true,
  }: { readonly settings?: Record<string, string>; readonly sudo?: boolean } = {},
) =>
  scenario(
    () => ({ stdout: release }),
    ({ calls }) =>
      Effect.gen(function* () {
        const npm = yield* NpmInstaller
        const result = yield* Effect.either(npm.resolve(yield* npm.install, "latest"))
        return { calls, error: result._tag === "Left" ? result.left : null }
      }),
    {
      settings,
      environment: { uid: 0, home: "/home/me", variables: sudo ? { SUDO_USER: "me" } : {} },
    },
  ).pipe(Effect.provideService(Ownership, owned(others)))

for (const [what, others] of [
  ["a home directory", { "/home/me": { uid: 1000 } }],
  ["an npmrc", { "/home/me/.npmrc": { uid: 1000, kind: "file" } }],
  ["a cache", { "/home/me/.npm": { uid: 1000 } }],
  ["a cache that everybody may write to", { "/home/me/.npm": { mode: 0o777 } }],
] as const)
  it.live(`${what} of another user is refused before npm is run as root, with what to type`, () =>
    Effect.gen(function* () {
      const { calls, error } = yield* resolved(others)
      assert.strictEqual(calls.length, 0)
      assert.match(error?.message ?? "", /npm would act as root on what another user can change: \/home\/me/)
      assert.strictEqual(error?.exitCode, 4)
      assert.match(error?.next ?? "", /sudo -H waiaas upgrade --data-dir/)
    }),
  )

it.live("settings and a cache elsewhere are inspected where npm says that they are", () =>
  Effect.gen(function* () {
    for (const key of ["userconfig", "cache", "logs-dir"]) {
      const { calls, error } = yield* resolved(
        { "/srv/npm": { uid: 1000 } },
        { settings: { [key]: "/srv/npm/x" } },
      )
      assert.strictEqual(calls.length, 1, key)
      assert.match(error?.message ?? "", /\/srv\/npm belongs to user 1000/, key)
    }
  }),
)

it.live("root's own home is taken, and so is anybody's without sudo", () =>
  Effect.gen(function* () {
    const foreign = { "/home/me": { uid: 1000 } }
    assert.isNull((yield* resolved({})).error)
    assert.isNull((yield* resolved(foreign, { sudo: false })).error)
  }),
)
