import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type { Version } from "@waiaas/domain/Version"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { ConfigFile } from "../ConfigFile.ts"
import { KeyValueStore } from "../KeyValueStore.ts"
import { DataDir } from "../platform/DataDir.ts"
import { DurableFile } from "../platform/DurableFile.ts"
import { Registry } from "../platform/Registry.ts"
import { VersionCheck } from "../VersionCheck.ts"
import { layerDatabaseAt } from "./TestDatabase.ts"
import { layerEnvironment } from "./TestEnvironment.ts"
import { type Respond, TestHttp } from "./TestHttp.ts"

const configToml = `[daemon]
update_registry = "http://registry.test"
`

/** The boundary to files: these, read-only and private, and no others. */
export const layerFiles = (files: Readonly<Record<string, string>>) => {
  const found = (path: string, method: string) => {
    const text = files[path]
    return text === undefined
      ? Effect.fail(
          new PlatformError.SystemError({
            reason: "NotFound",
            module: "FileSystem",
            method,
            pathOrDescriptor: path,
          }),
        )
      : Effect.succeed(text)
  }
  const infoOf = (text: string): FileSystem.File.Info => ({
    type: "File",
    mtime: Option.none(),
    atime: Option.none(),
    birthtime: Option.none(),
    dev: 1,
    ino: Option.none(),
    mode: 0o100600,
    nlink: Option.none(),
    uid: Option.none(),
    gid: Option.none(),
    rdev: Option.none(),
    size: FileSystem.Size(Buffer.byteLength(text)),
    blksize: Option.none(),
    blocks: Option.none(),
  })
  return FileSystem.layerNoop({
    exists: (path) => Effect.succeed(files[path] !== undefined),
    readFile: (path) => Effect.map(found(path, "readFile"), (text) => Buffer.from(text)),
    stat: (path) => Effect.map(found(path, "stat"), infoOf),
  })
}

/** The version check over HTTP, a file system and a database of the test. */
export const layerVersionCheck = (
  respond: Respond,
  version: Version,
  toml: string = configToml,
  files: Readonly<Record<string, string>> = {},
) => layerVersionCheckOver(TestHttp.layer(respond), version, toml, files)

export const layerVersionCheckOver = <H>(
  http: Layer.Layer<H | HttpClient.HttpClient>,
  version: Version,
  toml: string,
  files: Readonly<Record<string, string>> = {},
) =>
  VersionCheck.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(KeyValueStore.layer, Registry.layer, ConfigFile.layer)),
    Layer.provideMerge(DataDir.layer(Option.some("/data"))),
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(
      Layer.mergeAll(
        layerFiles({ "/data/config.toml": toml, ...files }),
        layerDatabaseAt(),
        http,
        layerEnvironment({ version }),
      ),
    ),
  )
