/** Addresses, words of a shell, secrets and names of the environment: what small functions of the domain make of them. */
import { assert, it } from "@effect/vitest"
import {
  environmentName,
  isMistypedPassword,
  isNearMiss,
  isServiceName,
  strayInWords,
  unknownEnvironment,
} from "@waiaas/domain/Config"
import { addressOf, isServing, urlOf } from "@waiaas/domain/Health"
import { agentsWithoutKey, keyAdvice } from "@waiaas/domain/KeyFile"
import { redactText } from "@waiaas/domain/Redact"
import { followedBy, inDataDir, shellWord } from "@waiaas/domain/Shell"

it("a daemon that listens everywhere is found on this machine's own address", () => {
  for (const [hostname, address] of [
    ["127.0.0.1", "http://127.0.0.1:3100"],
    ["0.0.0.0", "http://127.0.0.1:3100"],
    ["::", "http://[::1]:3100"],
    ["::1", "http://[::1]:3100"],
    ["wallet.test", "http://wallet.test:3100"],
  ] as const)
    assert.strictEqual(addressOf(hostname, 3100), address)
  assert.strictEqual(urlOf("0.0.0.0", 1), "http://0.0.0.0:1")
})

it("a daemon serves where it says ok, or is held until its upgrade is committed", () => {
  const serves = (status: string) => isServing({ status } as never)
  assert.deepStrictEqual(["ok", "held", "error", "stopping"].map(serves), [true, true, false, false])
})

it("a word is quoted for a shell where it has to be, and comes back as it was", () => {
  for (const [word, quoted] of [
    ["/srv/a-b_c.d:e@f=g+1", "/srv/a-b_c.d:e@f=g+1"],
    ["my data", "'my data'"],
    ["it's", `'it'\\''s'`],
    ["$(id)", "'$(id)'"],
    ["a;b", "'a;b'"],
    ["", "''"],
    ["a\nb", "'a\nb'"],
  ] as const)
    assert.strictEqual(shellWord(word), quoted)
})

it("two instructions become one, whether the first is a command or a sentence", () => {
  assert.strictEqual(followedBy("waiaas stop", "waiaas start"), "Run `waiaas stop`, then `waiaas start`.")
  assert.strictEqual(
    followedBy("Free some space, then run the command again.", "waiaas start"),
    "Free some space, then run `waiaas start`.",
  )
})

it("the data directory is named to every command that takes it, behind sudo and in a pipe, too", () => {
  const named = (next: string) => inDataDir(next, "/d")
  for (const [next, expected] of [
    ["sudo waiaas upgrade", "sudo waiaas upgrade --data-dir /d"],
    ["sudo -u op waiaas upgrade", "sudo -u op waiaas upgrade --data-dir /d"],
    ['npm_config_cache="x y" waiaas upgrade', 'npm_config_cache="x y" waiaas upgrade --data-dir /d'],
    ["waiaas agent list | head", "waiaas agent list --data-dir /d | head"],
    ["waiaas upgrade --data-dir ~/.waiaas", "waiaas upgrade --data-dir /d"],
    ["npm ping", "npm ping"],
    ["See waiaas upgrade, or run `npm ping`.", "See waiaas upgrade, or run `npm ping`."],
  ] as const)
    assert.strictEqual(named(next), expected)
})

it("secrets are hidden wherever they are, and what is known to be one as well", () => {
  for (const [text, secret] of [
    ["password: hunter2", "hunter2"],
    ["MASTER_PASSWORD=hunter2", "hunter2"],
    ['{"passphrase":"two words"}', "two words"],
    ["api_key=abc123", "abc123"],
    ["access-key: abc123", "abc123"],
    ["private_key=abc123", "abc123"],
    ["Authorization: Basic YTpi", "YTpi"],
    ["ghp_abcdefghijklmnop", "abcdefghijklmnop"],
    ["github_pat_abcdefghijklm", "abcdefghijklm"],
  ] as const)
    assert.notInclude(redactText(text), secret, text)
  assert.strictEqual(redactText("a t0ken, a t0ken", ["t0ken"]), "a [redacted], a [redacted]")
  for (const text of ["no secret here", "npm_short", "https://host/path", "tokens: none of them"])
    assert.isString(redactText(text))
  assert.strictEqual(redactText("https://host/path"), "https://host/path")
})

it("agents that cannot sign are counted, and the first of them named", () => {
  assert.isNull(agentsWithoutKey({ agents: 2, missing: 0, names: [] }))
  assert.isNull(keyAdvice({ agents: 2, missing: 0, names: [] }, "/d/keystore"))
  assert.include(agentsWithoutKey({ agents: 1, missing: 1, names: ["a"] }), "1 of 1 agent cannot sign")
  const many = agentsWithoutKey({ agents: 9, missing: 3, names: ["a", "b"] })
  assert.include(many, "3 of 9 agents cannot sign")
  assert.include(many, "(a, b, and 1 more)")
  assert.notInclude(agentsWithoutKey({ agents: 9, missing: 2, names: ["a", "b"] }), "more")
  assert.include(keyAdvice({ agents: 2, missing: 1, names: ["a"] }, "/d/keystore"), "/d/keystore")
  assert.include(many, "their sealed keys are missing or damaged")
})

it("a damaged key of no agent is named beside the agents that cannot sign, and one of an agent only there", () => {
  const damaged = ["k1", "k2", "k3", "k4", "k5", "k6", "k7"].map((id) => ({ id, isOfAgent: false }))
  const whole = { agents: 2, missing: 0, names: [] }
  assert.strictEqual(
    keyAdvice({ ...whole, damaged: damaged.slice(0, 1) }, "/k"),
    "1 sealed key of no agent is damaged (k1): put /k back from your own copy",
  )
  assert.strictEqual(
    keyAdvice(
      { agents: 2, missing: 1, names: ["a"], damaged: [...damaged, { id: "a1", isOfAgent: true }] },
      "/k",
    ),
    "1 of 2 agents cannot sign, its sealed key is missing or damaged (a); 7 sealed keys of no agent are damaged (k1, k2, k3, k4, k5, and 2 more): put /k back from your own copy",
  )
})

it("a password under another name is known for one, and other programs' passwords are not", () => {
  for (const name of [
    "WAIAAS_MASTER_PASSWD",
    "WAIAAS_MASTER_KEY",
    "WAIAAS_PASSWORD",
    "WAIAAS_MASTERPASSWORD",
    "WAIAAS_KEYSTORE_PASSPHRASE",
    "WAIASS_MASTER_PASSWORD",
    "WAIAS_MASTER_PASSWORD_FILE",
    "waiaas_master_password",
  ])
    assert.isTrue(isMistypedPassword(name), name)
  for (const name of [
    "WAIAAS_MASTER_PASSWORD",
    "WAIAAS_MASTER_PASSWORD_FILE",
    "WAIAAS_DATA_DIR",
    "WAIAAS_DAEMON_UPDATE_REGISTRY_TOKEN_FILE",
    "PGPASSWORD",
    "MASTER_PASSWORD",
    "WAIT_PASSWORD",
    "WAITRESS_PASSWORD",
    "WAITER_SECRET_NAME",
    "WAIVER_PASSPHRASE",
    "SSH_ASKPASS",
  ])
    assert.isFalse(isMistypedPassword(name), name)
})

it("a variable that is not obeyed is named with the one that was probably meant", () => {
  assert.strictEqual(
    strayInWords("WAIAAS_DATADIR"),
    "WAIAAS_DATADIR is set in the environment, but is no setting of WAIaaS: it is ignored (did you mean WAIAAS_DATA_DIR?)",
  )
  assert.isTrue(isNearMiss("WAIAAS_NO_UPDATE_NOTIF"))
  // Of an operator's own scripts, which may type `waiaas agent` every minute.
  for (const own of ["WAIAAS_TREASURY_AGENT", "WAIAAS_BACKUP_DIR"]) assert.isFalse(isNearMiss(own), own)
})

it("only variables that look like ours and are none are unknown", () => {
  assert.strictEqual(environmentName("daemon", "log_level"), "WAIAAS_DAEMON_LOG_LEVEL")
  assert.deepStrictEqual(
    unknownEnvironment({
      WAIAAS_ZZZ: "1",
      WAIAAS_DAEMON_PROT: "1",
      WAIAAS_DAEMON_PORT: "1",
      WAIAAS_DATABASE_PATH: "1",
      WAIAAS_DATA_DIR: "1",
      WAIAAS_NO_UPDATE_NOTIFY: "1",
      WAIAAS_MASTER_PASSWORD: "1",
      WAIAAS_MASTER_PASSWORD_FILE: "1",
      WAIAAS_PORT: "tcp://10.0.0.1:3100",
      WAIAAS_SERVICE_HOST: "10.0.0.1",
      OTHER: "1",
      MY_WAIAAS_X: "1",
    }),
    ["WAIAAS_DAEMON_PROT", "WAIAAS_ZZZ"],
  )
  for (const name of [
    "WAIAAS_SERVICE_HOST",
    "WAIAAS_SERVICE_PORT",
    "WAIAAS_SERVICE_PORT_HTTP",
    "WAIAAS_PORT_3100_TCP",
    "WAIAAS_PORT_3100_TCP_PROTO",
    "WAIAAS_PORT_3100_UDP_ADDR",
    "WAIAAS_PORT",
  ])
    assert.isTrue(isServiceName(name), name)
  for (const name of [
    "WAIAAS_DAEMON_PORT",
    "WAIAAS_PORTS",
    "WAIAAS_SERVICE",
    "WAIAAS_PORT_TCP",
    "A_SERVICE_HOST_X",
  ])
    assert.isFalse(isServiceName(name), name)
})
