/** Whose rights this process has, act by act: the calls to the system in their order, of a process that root began. */

import { assert, it } from "@effect/vitest"
import { Privilege } from "@waiaas/services/platform/Privilege"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

const owner = { uid: 1000, gid: 100 }

/** This process as the system would have it after each call, and what was called. */
const machine = Effect.acquireRelease(
  Effect.sync(() => {
    const calls: Array<string> = []
    const rights = { euid: 0, egid: 0 }
    const names = ["seteuid", "setegid", "setuid", "setgid", "setgroups", "geteuid"] as const
    const before = names.map((name) => process[name])
    const given: { [name: string]: (id: never) => unknown } = {
      seteuid: (id: number) => {
        calls.push(`seteuid ${id}`)
        rights.euid = id
      },
      setegid: (id: number) => {
        // Only root may: an order that drops the user first would keep root's group.
        calls.push(rights.euid === 0 ? `setegid ${id}` : `refused setegid ${id}`)
        rights.egid = id
      },
      setuid: (id: number) => void calls.push(rights.euid === 0 ? `setuid ${id}` : `refused setuid ${id}`),
      setgid: (id: number) => void calls.push(rights.euid === 0 ? `setgid ${id}` : `refused setgid ${id}`),
      setgroups: (ids: ReadonlyArray<number>) =>
        void calls.push(rights.euid === 0 ? `setgroups ${ids.join(" ")}` : "refused setgroups"),
      geteuid: () => rights.euid,
    }
    Object.assign(process, given)
    return { calls, rights, names, before }
  }),
  ({ names, before }) =>
    Effect.sync(() => {
      for (const [index, name] of names.entries()) Object.assign(process, { [name]: before[index] })
    }),
)

const begun = Effect.gen(function* () {
  const { calls, rights } = yield* machine
  // The default of a reference is made once for each process: a test has its own.
  const privilege = Privilege.defaultValue()
  const since = () => calls.splice(0)
  return { privilege, rights, since }
})

it.scoped("a process that never took another's rights changes none, whatever it is asked", () =>
  Effect.gen(function* () {
    const { privilege, rights, since } = yield* begun
    assert.isUndefined(privilege.taken())
    rights.euid = 1000
    assert.strictEqual(yield* privilege.asInstaller(Effect.succeed(1)), 1)
    assert.isUndefined(privilege.asOwner((identity) => identity))
    yield* privilege.restore
    yield* privilege.renounce
    assert.deepStrictEqual(since(), [])
  }),
)

it.scoped("the data owner's rights leave root's groups first, then the group, and the user last", () =>
  Effect.gen(function* () {
    const { privilege, rights, since } = yield* begun
    yield* privilege.become(owner)
    assert.deepStrictEqual(since(), ["setgroups 100", "setegid 100", "seteuid 1000"])
    assert.deepStrictEqual([privilege.taken(), rights], [owner, { euid: 1000, egid: 100 }])
  }),
)

for (const call of ["setgroups", "setegid", "seteuid"] as const)
  it.scoped(`a root that may not act as the owner stays root, and says so (${call})`, () =>
    Effect.gen(function* () {
      const { privilege, rights } = yield* begun
      const usual = process[call]
      Object.assign(process, {
        [call]: (id: number) => {
          if (id !== 0) throw Object.assign(new Error("not permitted"), { code: "EPERM" })
          rights.euid = 0
        },
      })
      const error = yield* Effect.flip(privilege.become(owner))
      Object.assign(process, { [call]: usual })
      assert.deepStrictEqual([error._tag, error.code], ["RightsRefused", "EPERM"])
      assert.isUndefined(privilege.taken())
      assert.deepStrictEqual(rights, { euid: 0, egid: 0 })
    }),
  )

it.scoped("an act on the package has root's rights for as long as it takes, however it ends", () =>
  Effect.gen(function* () {
    const { privilege, rights, since } = yield* begun
    yield* privilege.become(owner)
    since()
    const seen = Effect.sync(() => ({ ...rights }))
    const whole = ["seteuid 0", "setegid 0", "setegid 100", "seteuid 1000"]
    // One within another is one: the inner end must not drop what the outer one still needs.
    const [inner, outer] = yield* privilege.asInstaller(Effect.all([privilege.asInstaller(seen), seen]))
    assert.deepStrictEqual(
      [inner, outer],
      [
        { euid: 0, egid: 0 },
        { euid: 0, egid: 0 },
      ],
    )
    assert.deepStrictEqual(since(), whole)
    for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(privilege.asInstaller(end))))
      assert.deepStrictEqual(since(), whole)
    }
  }),
)

it.scoped(
  "a child is the owner for good: it is started as root, with the owner's identity, and root's rights go again",
  () =>
    Effect.gen(function* () {
      const { privilege, rights, since } = yield* begun
      yield* privilege.become(owner)
      since()
      const given = privilege.asOwner((identity) => ({ identity, rights: { ...rights } }))
      assert.deepStrictEqual(given, { identity: owner, rights: { euid: 0, egid: 0 } })
      assert.deepStrictEqual(since(), ["seteuid 0", "setegid 0", "setegid 100", "seteuid 1000"])
      assert.throws(() =>
        privilege.asOwner(() => {
          throw new Error("no such program")
        }),
      )
      assert.deepStrictEqual(rights, { euid: 1000, egid: 100 })
    }),
)

it.scoped(
  "what replaces this process begins as root; a program that takes it over is the owner, with no way back",
  () =>
    Effect.gen(function* () {
      const { privilege, since } = yield* begun
      yield* privilege.become(owner)
      since()
      yield* privilege.restore
      assert.deepStrictEqual(since(), ["seteuid 0", "setegid 0"])
      yield* privilege.become(owner)
      since()
      yield* privilege.renounce
      assert.deepStrictEqual(since(), [
        "seteuid 0",
        "setegid 0",
        "setgroups 100",
        "setgid 100",
        "setuid 1000",
      ])
    }),
)
