import type { Client } from './forwarded.ts'
import type { Head } from './head.ts'

/** The head of a request, as a route sees it. */
export class Request {
  readonly client: Client
  readonly head: Head

  constructor(head: Head, client: Client) {
    this.head = head
    this.client = client
  }

  get method(): string {
    return this.head.method
  }

  /** Path and query, or `*`. */
  get target(): string {
    const { target } = this.head
    if (target.startsWith('/') || target === '*') return target
    // RFC 9112 3.2.4.
    if (this.method === 'OPTIONS' && !/[/?]/.test(target.slice('https://'.length))) return '*'
    return originForm(target).target
  }

  /** Without the query. */
  get path(): string {
    const { target } = this
    const query = target.indexOf('?')
    return query < 0 ? target : target.slice(0, query)
  }

  /** Of the Host header or of the absolute target; undefined in HTTP/1.0 without one. */
  get host(): string | undefined {
    const { target, host } = this.head
    return target.startsWith('/') || target === '*' ? host : originForm(target).authority
  }

  /** Values by lower-case name; those of repeated lines are joined. */
  get headers(): ReadonlyMap<string, string> {
    return this.head.headers
  }

  /** The first cookie of that name (RFC 6265 4.2), undecoded. */
  cookie(name: string): string | undefined {
    for (const pair of this.headers.get('cookie')?.split(';') ?? []) {
      const equals = pair.indexOf('=')
      if (equals >= 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
    }
    return undefined
  }
}

const ABSOLUTE = /^https?:\/\/([^/?]*)(.*)$/i

/** Takes apart an absolute-form target (RFC 9112 3.2.2); the authority is not checked. */
export function originForm(target: string): { authority: string; target: string } {
  const [, authority = '', rest = ''] = ABSOLUTE.exec(target) ?? []
  return { authority, target: rest.startsWith('/') ? rest : `/${rest}` }
}

/** The head of a response, as `onResponse` of a route sees it. */
export class Response {
  readonly #head: Head

  constructor(head: Head) {
    this.#head = head
  }

  get status(): number {
    return this.#head.status
  }

  get headers(): ReadonlyMap<string, string> {
    return this.#head.headers
  }
}
