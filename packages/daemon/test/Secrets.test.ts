/** What opens a secret and what does not; whose password file is read; which header is the token. */
import { strict as assert } from "node:assert"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "@effect/vitest"
import { hidden } from "@waiaas/domain/Redact"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { type Entry, Ownership } from "@waiaas/services/platform/Ownership"
import { Privilege } from "@waiaas/services/platform/Privilege"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ApiToken } from "../src/ApiToken.ts"
import { readPassword } from "../src/MasterPassword.ts"
import { redactValue } from "../src/Redact.ts"
import { deriveKey, freshKdf, Kdf, seal, unseal } from "../src/Sealed.ts"
import { initialise, layerPlatform, temporaryDirectory } from "./support.ts"

describe("what is sealed", () => {
  it.effect("opens with its key and its context, and with no other; no two seals of it are alike", () =>
    Effect.gen(function* () {
      const [one, other] = [freshKdf(), freshKdf()]
      assert.notEqual(one.salt, other.salt)
      const key = yield* deriveKey("correct horse", one)
      assert.equal(key.length, 32)
      assert.ok((yield* deriveKey("correct horse", one)).equals(key))
      for (const wrong of [
        yield* deriveKey("correct horsf", one),
        yield* deriveKey("correct horse", other),
      ]) {
        assert.ok(!wrong.equals(key))
        assert.ok(Option.isNone(unseal(wrong, seal(key, Buffer.from("it"), "here"), "here")))
      }
      // However a keyboard composes it: e with an accent is one letter or two.
      assert.ok((yield* deriveKey("\u00e9", one)).equals(yield* deriveKey("e\u0301", one)))
      const sealed = seal(key, Buffer.from("it"), "here")
      assert.equal(Option.getOrThrow(unseal(key, sealed, "here")).toString(), "it")
      assert.ok(Option.isNone(unseal(key, sealed, "there")))
      const again = seal(key, Buffer.from("it"), "here")
      assert.notEqual(again.nonce, sealed.nonce)
      assert.notEqual(again.ciphertext, sealed.ciphertext)
    }),
  )

  it("asks for work that a changed file can neither save nor multiply", () => {
    const is = Schema.is(Kdf)
    const good = freshKdf()
    assert.ok(is(good))
    for (const bad of [
      { N: 2 },
      { N: 2 ** 30 },
      { r: 1 },
      { p: 16 },
      { name: "none" },
      { salt: "" },
      { salt: `${good.salt}00` },
    ])
      assert.ok(!is({ ...good, ...bad }), JSON.stringify(bad))
  })
})

describe("the master password's file", () => {
  interface Given {
    readonly text?: string
    readonly entries?: ReadonlyArray<Partial<Entry>>
    readonly uid?: number | null
    readonly container?: boolean
    readonly taken?: number
  }
  const read = ({ text = "secret\n", entries = [{}], uid = 1000, container = false, taken }: Given) =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      writeFileSync(join(root, "password"), text, { mode: 0o600 })
      const platform = layerPlatform(root, { WAIAAS_MASTER_PASSWORD_FILE: "password" })
      const environment = yield* Effect.provide(Environment, platform)
      const ownership = yield* Ownership
      const privilege = yield* Privilege
      return yield* Effect.either(readPassword).pipe(
        Effect.provideService(Environment, { ...environment, cwd: root, uid, container }),
        Effect.provideService(Ownership, {
          ...ownership,
          entriesAt: (path) =>
            Effect.succeed(
              entries.map((entry) => ({ path, uid: 1000, mode: 0o600, kind: "file" as const, ...entry })),
            ),
        }),
        Effect.provideService(Privilege, {
          ...privilege,
          taken: () => (taken === undefined ? undefined : { uid: taken, gid: taken }),
        }),
        Effect.provide(platform),
      )
    })
  const outcome = (given: Given) =>
    Effect.map(read(given), (found) =>
      found._tag === "Right" ? Option.getOrNull(found.right) : found.left.message,
    )

  it.scopedLive("is the password but for its last line's end, and lies where the command was started", () =>
    Effect.gen(function* () {
      for (const [text, password] of [
        ["secret", "secret"],
        ["secret\n", "secret"],
        ["secret\r\n", "secret"],
        ["secret\n\n", "secret\n"],
        [" secret ", " secret "],
        ["two\nlines", "two\nlines"],
      ] as const)
        assert.equal(yield* outcome({ text }), password)
    }),
  )

  it.scopedLive(
    "is closed for others; in a container they may read it as it is mounted, and not write it",
    () =>
      Effect.gen(function* () {
        for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610]) {
          const shown = mode.toString(8)
          assert.match(
            String(yield* outcome({ entries: [{ mode }] })),
            new RegExp(`by others \\(mode ${shown}\\)`),
          )
        }
        assert.equal(yield* outcome({ entries: [{ mode: 0o444 }], container: true }), "secret")
        assert.match(String(yield* outcome({ entries: [{ mode: 0o422 }], container: true })), /by others/)
        // A link's own mode says nothing; that of what it leads to does.
        assert.equal(yield* outcome({ entries: [{ kind: "link", mode: 0o777 }, {}] }), "secret")
        assert.match(
          String(yield* outcome({ entries: [{ kind: "link", mode: 0o777 }, { mode: 0o644 }] })),
          /mode 644/,
        )
      }),
  )

  it.scopedLive("belongs to whoever reads it or to root, and so does a link to it", () =>
    Effect.gen(function* () {
      assert.equal(yield* outcome({ entries: [{ uid: 0 }] }), "secret")
      assert.match(String(yield* outcome({ entries: [{ uid: 1001 }] })), /belongs to user 1001/)
      assert.match(
        String(yield* outcome({ entries: [{ kind: "link", uid: 1001 }, {}] })),
        /belongs to user 1001/,
      )
      assert.match(String(yield* outcome({ entries: [{}], uid: 0 })), /belongs to user 1000/)
      // Under sudo it is the data owner who reads.
      assert.equal(yield* outcome({ entries: [{}], uid: 0, taken: 1000 }), "secret")
      assert.match(String(yield* outcome({ entries: [{ uid: 1001 }], uid: 1001, taken: 1000 })), /user 1001/)
      assert.equal(yield* outcome({ entries: [{ uid: 1001 }], uid: null }), "secret")
    }),
  )

  it.scopedLive("gets advice that only its owner can follow where it is their own", () =>
    Effect.gen(function* () {
      const next = (given: Given) =>
        Effect.map(read(given), (found) => (found._tag === "Left" ? found.left.next : ""))
      assert.match(yield* next({ entries: [{ mode: 0o644 }] }), /^chmod go= \/.*\/password/)
      assert.match(yield* next({ entries: [{ mode: 0o644, uid: 0 }] }), /^Close the file for others/)
    }),
  )
})

it.scopedLive(
  "a request has the token where its header is all of it, and a second init keeps the token",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      yield* initialise(root)
      const platform = layerPlatform(root)
      const { token } = yield* Effect.map(DataDir, ({ paths }) => paths).pipe(Effect.provide(platform))
      const other = "0123456789abcdef".repeat(4)
      writeFileSync(token, `${other}\n`, { mode: 0o600 })
      yield* Effect.provide(ApiToken.initialise, platform)
      const { matches } = yield* Effect.provide(ApiToken, ApiToken.layer).pipe(Effect.provide(platform))
      for (const right of [`Bearer ${other}`, `bearer ${other}`, `BEARER   ${other}`])
        assert.ok(matches(right), right)
      for (const wrong of [
        undefined,
        "",
        "Bearer ",
        other,
        `Basic ${other}`,
        `Bearer${other}`,
        `Bearer ${other} `,
        ` Bearer ${other}`,
        `Bearer ${other.slice(1)}`,
        `Bearer ${other.toUpperCase()}`,
      ])
        assert.ok(!matches(wrong), wrong)
    }),
)

it("what is written down has a form for every value, and an end at a depth", () => {
  const circle: Record<string, unknown> = {}
  circle.self = circle
  assert.match(JSON.stringify(redactValue(circle)), /^(\{"self":){9}"\[\.\.\.\]"\}{9}$/)
  const deep: Array<unknown> = []
  deep.push(deep)
  assert.match(JSON.stringify(redactValue(deep)), /^\[{9}"\[\.\.\.\]"\]{9}$/)
  assert.deepEqual(
    redactValue([1n, null, undefined, true, 2, new Uint8Array(3), new Date(0), new Error("why")]),
    ["1", null, undefined, true, 2, "[3 bytes]", "1970-01-01T00:00:00.000Z", "why"],
  )
  assert.deepEqual(redactValue({ toJSON: () => ["a", { password: "b" }] }), ["a", { password: hidden }])
  assert.equal(redactValue({ toJSON: () => "text" }), "text")
  for (const name of [
    "password",
    "masterPassword",
    "API_KEY",
    "accessKey",
    "private_key",
    "_auth",
    "_authToken",
    "authorization",
    "token",
  ])
    assert.deepEqual(redactValue({ [name]: "x" }), { [name]: hidden }, name)
  for (const name of ["author", "tokens", "publicKey", "passwords_file"])
    assert.deepEqual(redactValue({ [name]: "x" }), { [name]: "x" }, name)
  assert.deepEqual(redactValue({ said: "the words" }, ["words"]), { said: `the ${hidden}` })
})
