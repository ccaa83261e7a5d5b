import { assert, describe, it } from "@effect/vitest"
import { initialConfigToml } from "@waiaas/domain/Config"
import { decodeConfig } from "@waiaas/services/ConfigFile"
import * as Effect from "effect/Effect"

const decode = (text: string, variables: Record<string, string> = {}) =>
  decodeConfig("/d/config.toml", text, variables)

describe("the configuration", () => {
  it.effect("is the defaults for the file that init writes", () =>
    Effect.gen(function* () {
      const config = yield* decode(initialConfigToml)
      assert.deepStrictEqual(
        { ...config.daemon },
        {
          port: 3100,
          hostname: "127.0.0.1",
          log_level: "info",
          log_file: "logs/daemon.log",
          shutdown_timeout: 30,
          update_check: true,
          update_check_interval: 86400,
        },
      )
      assert.strictEqual(config.database.path, "data/waiaas.db")
    }),
  )

  it.effect("takes defaults < file < environment", () =>
    Effect.gen(function* () {
      const config = yield* decode("[daemon]\nport = 4000\nlog_level = 'debug'", {
        WAIAAS_DAEMON_PORT: "5000",
      })
      assert.strictEqual(config.daemon.port, 5000)
      assert.strictEqual(config.daemon.log_level, "debug")
      assert.strictEqual(config.daemon.shutdown_timeout, 30)
    }),
  )

  it.effect("a numeric-looking environment value of a text key stays text", () =>
    Effect.map(decode("", { WAIAAS_DAEMON_HOSTNAME: "127" }), (config) =>
      assert.strictEqual(config.daemon.hostname, "127"),
    ),
  )

  it.effect("leaves names outside its sections alone", () =>
    decode("", { WAIAAS_DATA_DIR: "/x", WAIAAS_MASTER_PASSWORD: "1", WAIAAS_NO_UPDATE_NOTIFY: "1" }),
  )

  const refused = [
    ["an unknown section", "[web]\nport = 1", {}, "web", "sections daemon, database"],
    ["an unknown key", "[daemon]\nprot = 1", {}, "daemon.prot", "port, hostname"],
    ["a bad value", "[daemon]\nport = 70000", {}, "daemon.port", "1..65535"],
    ["a value of another type", "[daemon]\nupdate_check = 'yes'", {}, "daemon.update_check", "true or false"],
    [
      "an interval below an hour",
      "[daemon]\nupdate_check_interval = 60",
      {},
      "daemon.update_check_interval",
      "3600..604800",
    ],
    [
      "a registry with a password",
      "[daemon]\nupdate_registry = 'http://u:p@r/'",
      {},
      "daemon.update_registry",
      "without",
    ],
    [
      "an unknown log level",
      "[daemon]\nlog_level = 'loud'",
      {},
      "daemon.log_level",
      "one of debug, info, warning, error",
    ],
    ["a log level that is no text", "[daemon]\nlog_level = 3", {}, "daemon.log_level", "one of debug, info"],
    ["a host name that is none", "[daemon]\nhostname = 'a b'", {}, "daemon.hostname", "a host name or an IP"],
    ["a host name that is no text", "[daemon]\nhostname = 3", {}, "daemon.hostname", "a host name or an IP"],
    [
      "a registry that is no text",
      "[daemon]\nupdate_registry = 3",
      {},
      "daemon.update_registry",
      "an http(s)",
    ],
    ["an empty log file", "[daemon]\nlog_file = ''", {}, "daemon.log_file", "a path"],
    ["a log file that is no text", "[daemon]\nlog_file = 3", {}, "daemon.log_file", "a path"],
    ["an empty database path", "[database]\npath = ''", {}, "database.path", "a path"],
    ["a database path that is no text", "[database]\npath = true", {}, "database.path", "a path"],
    ["an empty environment value", "", { WAIAAS_DATABASE_PATH: "" }, "WAIAAS_DATABASE_PATH", "a path"],
    [
      "an unknown environment name of a section",
      "",
      { WAIAAS_DAEMON_PROT: "1" },
      "WAIAAS_DAEMON_PROT",
      "WAIAAS_DAEMON_PORT",
    ],
    [
      "a bad environment value",
      "",
      { WAIAAS_DAEMON_SHUTDOWN_TIMEOUT: "soon" },
      "WAIAAS_DAEMON_SHUTDOWN_TIMEOUT",
      "5..300",
    ],
  ] as const
  for (const [name, text, variables, key, allowed] of refused)
    it.effect(`refuses ${name}, naming source, key, value and what is allowed`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(decode(text, variables as Record<string, string>))
        assert.strictEqual(error.key, key)
        assert.include(error.allowed, allowed)
        assert.notInclude(error.allowed, "Expected")
        assert.strictEqual(error.source, Object.keys(variables).length > 0 ? "environment" : "/d/config.toml")
        assert.strictEqual(error.exitCode, 2)
      }),
    )

  const said = [
    [
      "[databse]\npath = 'x'",
      {},
      "/d/config.toml: unknown section [databse], did you mean [database]? (there is daemon, database).",
    ],
    [
      "[daemon]\nprot = 1",
      {},
      "/d/config.toml: unknown key daemon.prot, did you mean port? (there is port, ",
    ],
    ["[daemon]\nport == 1", {}, "/d/config.toml: line 2 is not TOML ("],
    ["[daemon]\n\nlog_file = 'x", {}, "): log_file = 'x."],
    [
      "",
      { WAIAAS_DAEMON_PROT: "1" },
      "environment: unknown variable WAIAAS_DAEMON_PROT, did you mean WAIAAS_DAEMON_PORT? (",
    ],
    [
      "",
      { WAIAAS_DAEMON_PORT: "x" },
      'environment: WAIAAS_DAEMON_PORT = "x" is not allowed (allowed: a port',
    ],
  ] as const
  for (const [text, variables, words] of said)
    it.effect(`says in words: ${words}`, () =>
      Effect.map(Effect.flip(decode(text, variables as Record<string, string>)), ({ message }) =>
        assert.include(message, words),
      ),
    )

  it.effect(
    "knows what Kubernetes puts into a pod's environment for a Service, and what to do about it",
    () =>
      Effect.gen(function* () {
        for (const [name, value] of [
          ["WAIAAS_DAEMON_PORT", "tcp://10.0.0.1:3100"],
          ["WAIAAS_DAEMON_SERVICE_HOST", "10.0.0.1"],
          ["WAIAAS_DAEMON_SERVICE_PORT_HTTP", "3100"],
          ["WAIAAS_DATABASE_PORT_5432_TCP_ADDR", "10.0.0.1"],
        ] as const) {
          const error = yield* Effect.flip(decode("", { [name]: value }))
          assert.include(error.message, "comes from Kubernetes", name)
          assert.include(error.next, "`enableServiceLinks: false`", name)
        }
      }),
  )

  it.effect("refuses what is no TOML", () =>
    Effect.map(Effect.flip(decode("[daemon")), (error) => assert.strictEqual(error.allowed, "TOML")),
  )
})
