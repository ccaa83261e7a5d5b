/** `/openapi.json` and `/docs`: both made from the API's definition, both behind the token like everything but `/health`. */
import { createHash } from "node:crypto"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as OpenApi from "@effect/platform/OpenApi"
import { VERSION } from "@waiaas/domain/Build"
import { DaemonApi } from "@waiaas/domain/DaemonApi"
import * as Effect from "effect/Effect"

/** Made on first use: a start should not wait for it. */
const lazy = <A>(make: () => A): (() => A) => {
  const made: Array<A> = []
  return () => {
    const [first = make()] = made
    made[0] = first
    return first
  }
}

const spec = lazy(() => {
  const made = OpenApi.fromApi(DaemonApi)
  return { ...made, info: { ...made.info, version: VERSION } }
})

const operations = lazy(() =>
  Object.entries(spec().paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, OpenApi.OpenAPISpecOperation>).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      operation,
      // A semicolon and a hash end a path for the router: what is behind them would be dropped.
      pattern: new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{[^}]+\}/g, "([^/;#?]+)")}$`),
    })),
  ),
)

/** What a request asks for: an operation with the encoded parts of its path; none where the API has no such one. */
export const operationOf = (
  method: string,
  path: string,
):
  | { readonly operation: OpenApi.OpenAPISpecOperation; readonly parts: ReadonlyArray<string> }
  | undefined => {
  for (const each of operations()) {
    const found = each.method === method ? each.pattern.exec(path) : null
    if (found !== null) return { operation: each.operation, parts: found.slice(1) }
  }
  return undefined
}

/** Pages about the API, which are no operations of it. */
export const isPage = (path: string): boolean => path === "/openapi.json" || path === "/docs"

/** The methods that a path has, `/openapi.json` and `/docs` included; empty where there is no such path. */
export const methodsOf = (path: string): ReadonlyArray<string> =>
  isPage(path)
    ? ["GET"]
    : operations()
        .filter(({ pattern }) => pattern.test(path))
        .map(({ method }) => method)

const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f4f4f4;padding:.5rem;overflow:auto}
summary{cursor:pointer}
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#9cf}pre{background:#222}}`

const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")

/** A schema as text, in which the name of another one leads to it; with the keyboard it can be reached and scrolled. */
const schemaText = (schema: unknown): string =>
  `<pre tabindex="0">${escapeHtml(JSON.stringify(schema, null, 2)).replace(
    /#\/components\/schemas\/([A-Za-z0-9_]+)/g,
    (_, name: string) => `<a href="#schema-${slug(name)}">${name}</a>`,
  )}</pre>`

/** A part that is read by whoever opens it. */
const section = (title: string, schema: unknown): string =>
  schema === undefined
    ? `<p>${title}</p>`
    : `<details><summary>${title}</summary>${schemaText(schema)}</details>`

const contentOf = (holder: { readonly content?: object | undefined } | undefined): unknown =>
  (Object.values(holder?.content ?? {})[0] as { readonly schema?: unknown } | undefined)?.schema

const page = lazy(() => {
  const { info, components } = spec()
  const all = operations().map(({ path, method, operation }) => {
    const name = `${method} ${path}`
    const body = contentOf(operation.requestBody)
    const answers = Object.entries(operation.responses).map(([status, answer]) =>
      section(`${status} ${escapeHtml(answer.description)}`, contentOf(answer)),
    )
    const link = `<li><a href="#${slug(name)}"><code>${escapeHtml(name)}</code></a> ${escapeHtml(operation.summary ?? "")}</li>`
    const text = `<h3 id="${slug(name)}"><code>${escapeHtml(name)}</code></h3><p>${escapeHtml(operation.summary ?? "")}.</p>
${body === undefined ? "" : section("Request body", body)}${answers.join("")}`
    return { link, text }
  })
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(info.title)} ${VERSION} API</title><style>${style}</style><main>
<h1>${escapeHtml(info.title)} ${VERSION} API</h1>
<p>Everything but <code>/health</code> needs <code>authorization: Bearer &lt;token&gt;</code>, the token of <code>api.token</code> in the data directory. Errors are JSON: <code>{"_tag", "message", "next"}</code>.</p>
<nav aria-label="Contents"><ul>${all.map(({ link }) => link).join("\n")}<li><a href="#schemas">Schemas</a></li></ul></nav>
<h2 id="operations">Operations</h2>${all.map(({ text }) => text).join("\n")}
<h2 id="schemas">Schemas</h2>${Object.entries(components.schemas)
    .map(
      ([name, schema]) =>
        `<h3 id="schema-${slug(name)}"><code>${escapeHtml(name)}</code></h3>${schemaText(schema)}`,
    )
    .join("")}</main></html>`
})

const policy = `default-src 'none'; style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/** Adds both routes to the API's router. */
export const layerDocs = HttpApiBuilder.Router.use((router) =>
  Effect.gen(function* () {
    yield* router.get(
      "/openapi.json",
      Effect.sync(() => HttpServerResponse.text(JSON.stringify(spec()), { contentType: "application/json" })),
    )
    yield* router.get(
      "/docs",
      Effect.sync(() =>
        HttpServerResponse.html(page()).pipe(HttpServerResponse.setHeader("content-security-policy", policy)),
      ),
    )
  }),
)
