import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { type FileFailed, TokenUnusable } from "@waiaas/domain/DataErrors"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { readToken } from "@waiaas/services/TokenFile"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

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
        const token = yield* readToken.pipe(
          // Whoever asks for this layer starts: there is no daemon to stop.
          Effect.catchTag("TokenUnusable", (error) => new TokenUnusable({ ...error, stopped: true })),
        )
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
