import { TokenUnusable } from "@waiaas/domain/DataErrors"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"

/** Reads the API's token: 64 hexadecimal digits in `api.token`, and nothing else gets into a header. */
export const readToken = Effect.gen(function* () {
  const { paths } = yield* DataDir
  // Bytes that are not text are no digits either.
  const text = yield* (yield* DurableFile).readAnyTextIfThere(paths.token)
  if (Option.isNone(text))
    return yield* new TokenUnusable({ path: paths.token, problem: "it does not exist", missing: true })
  const token = text.value.trim()
  if (!/^[0-9a-f]{64}$/.test(token))
    return yield* new TokenUnusable({
      path: paths.token,
      problem: "it is not 64 hexadecimal digits",
      missing: false,
    })
  return token
})

/** Fails where the token cannot be used; gives it to nobody. */
export const expectToken = Effect.asVoid(readToken)
