import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { ExitCode } from "@waiaas/domain/ExitCode"
import { shellWord } from "@waiaas/domain/Shell"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

export class TokenUnusable extends Schema.TaggedError<TokenUnusable>()("TokenUnusable", {
  path: Schema.String,
  problem: Schema.String,
  dataDir: Schema.String,
}) {
  override get message() {
    return `The API token ${this.path} cannot be used: ${this.problem}.`
  }
  get next() {
    return `rm -f ${shellWord(this.path)} && waiaas init --data-dir ${shellWord(this.dataDir)}`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** The bearer token of the API: 32 random bytes, hexadecimal, in a 0600 file of the data directory. */
export class ApiToken extends Context.Tag("@waiaas/daemon/ApiToken")<
  ApiToken,
  {
    /** Whether a request's `authorization` header carries the token; takes the same time for every wrong one. */
    readonly matches: (authorization: string | undefined) => boolean
  }
>() {
  /** Reads the token once: a new one is used from the next start on. */
  static readonly layer: Layer.Layer<ApiToken, TokenUnusable | FileFailed, DataDir | DurableFile> =
    Layer.effect(
      this,
      Effect.gen(function* () {
        const files = yield* DurableFile
        const { paths } = yield* DataDir
        const unusable = (problem: string) =>
          new TokenUnusable({ path: paths.token, problem, dataDir: paths.root })
        if (!(yield* files.exists(paths.token))) return yield* unusable("it does not exist")
        const token = (yield* files.readText(paths.token)).trim()
        if (!/^[0-9a-f]{64}$/.test(token)) return yield* unusable("it is not 64 hexadecimal digits")
        // Digests have one length, which the comparison in constant time needs.
        const expected = digest(`Bearer ${token}`)
        return {
          matches: (authorization) =>
            authorization !== undefined &&
            timingSafeEqual(digest(authorization.replace(/^bearer +/i, "Bearer ")), expected),
        }
      }),
    )

  /** Creates the file unless it is there; `waiaas init` does this. */
  static readonly initialise: Effect.Effect<void, FileFailed, DataDir | DurableFile> = Effect.gen(
    function* () {
      const files = yield* DurableFile
      const { paths } = yield* DataDir
      if (yield* files.exists(paths.token)) return
      yield* files.write(paths.token, `${randomBytes(32).toString("hex")}\n`, 0o600)
    },
  ).pipe(Effect.withSpan("ApiToken.initialise"))
}
