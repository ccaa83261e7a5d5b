/** Authenticated encryption of small secrets: AES-256-GCM under a key that scrypt derives. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const hex = (bytes: number) => Schema.String.pipe(Schema.pattern(new RegExp(`^[0-9a-f]{${bytes * 2}}$`)))

/** What AES-256-GCM leaves behind; all hexadecimal. */
export const Sealed = Schema.Struct({
  nonce: hex(12),
  tag: hex(16),
  ciphertext: Schema.String.pipe(Schema.pattern(/^([0-9a-f]{2})+$/)),
})
export type Sealed = typeof Sealed.Type

/** Bounds keep a changed file from asking for all the memory there is, or for next to no work. */
export const Kdf = Schema.Struct({
  name: Schema.Literal("scrypt"),
  N: Schema.Literal(32768, 65536, 131072, 262144),
  r: Schema.Literal(8),
  p: Schema.Literal(1),
  salt: hex(32),
})
export type Kdf = typeof Kdf.Type

export const freshKdf = (): Kdf => ({
  name: "scrypt",
  N: 32768,
  r: 8,
  p: 1,
  salt: randomBytes(32).toString("hex"),
})

/** 32 bytes, off the main thread. The limits of `Kdf` leave scrypt no way to fail: if it does, that is a defect. */
export const deriveKey = (secret: string, kdf: Kdf): Effect.Effect<Buffer> =>
  Effect.async((resume) => {
    const { N, r, p, salt } = kdf
    // scrypt needs 128 * N * r bytes; Node's default limit is exactly that for N = 2^15, and too low.
    const options = { N, r, p, maxmem: 256 * N * r }
    scrypt(secret.normalize("NFKC"), Buffer.from(salt, "hex"), 32, options, (error, key) =>
      resume(error ? Effect.die(error) : Effect.succeed(key)),
    )
  })

/** Seals `plain`; opening needs the same `context`, which is not secret but cannot be exchanged. */
export const seal = (key: Buffer, plain: Uint8Array, context: string): Sealed => {
  const nonce = randomBytes(12)
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  cipher.setAAD(Buffer.from(context))
  const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()])
  return {
    nonce: nonce.toString("hex"),
    tag: cipher.getAuthTag().toString("hex"),
    ciphertext: ciphertext.toString("hex"),
  }
}

/** None where the key, the context or a single bit is another one. */
export const unseal = (key: Buffer, sealed: Sealed, context: string): Option.Option<Buffer> => {
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(sealed.nonce, "hex"), {
    authTagLength: 16,
  })
  decipher.setAAD(Buffer.from(context))
  decipher.setAuthTag(Buffer.from(sealed.tag, "hex"))
  const parts = [decipher.update(Buffer.from(sealed.ciphertext, "hex"))]
  try {
    parts.push(decipher.final())
    return Option.some(Buffer.concat(parts))
  } catch {
    // The only thing that it throws here: the tag does not match.
    return Option.none()
  } finally {
    for (const part of parts) part.fill(0)
  }
}
