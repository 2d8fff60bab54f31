import { isIPv6 } from 'node:net'
import { headerLine } from './answer.ts'
import type { Head } from './head.ts'

/** What is known of a client without believing it. */
export interface Client {
  /** Of the peer, an IPv4 one without its IPv6 prefix; undefined on a Unix socket. */
  readonly address: string | undefined
  /** Whether its connection is secured by TLS. */
  readonly secure: boolean
  /** Set on each of its requests, whatever it says itself, such as its verified identity. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Writes X-Forwarded-For, -Proto, -Host, -Port and Forwarded (RFC 7239) for the requests of one client. */
export class ForwardedLines {
  readonly #client: Client
  readonly #own: string
  #host: string | undefined
  #lines: string | undefined

  constructor(client: Client) {
    this.#client = client
    let own = ''
    for (const [name, value] of Object.entries(client.headers ?? {})) own += headerLine(name, value)
    this.#own = own
  }

  /** For a client that is believed nothing: only its Host is used. */
  lines(host: string | undefined): string {
    if (this.#lines === undefined || host !== this.#host) {
      this.#host = host
      this.#lines = `${this.#forAddress() + this.#forHost(host)}Forwarded: ${this.#element(host)}\r\n${this.#own}`
    }
    return this.#lines
  }

  /**
   * For a proxy that is trusted: what it said stays, the address of its own connection is added.
   * @returns our lines, and the lower-case names of its lines that they replace
   */
  appended(head: Head): { lines: string; replaced: string[] } {
    const { headers, host, kept } = head
    const before = headers.get('x-forwarded-for')
    const { address } = this.#client
    const chain = [before, address].filter((part) => part !== undefined && part !== '').join(', ')
    let lines = chain === '' ? '' : `X-Forwarded-For: ${chain}\r\n`
    const missing = `${this.#forHost(host)}X-Forwarded-Proto: ${this.#proto}\r\n`
    for (const line of missing.split('\r\n').slice(0, -1)) {
      // By what goes on, because a header that Connection lists does not.
      const name = line.slice(0, line.indexOf(':') + 1)
      if (!new RegExp(`^${name}`, 'im').test(kept)) lines += `${line}\r\n`
    }
    const forwarded = headers.get('forwarded')
    // Of a chain that is told in one form only, the other would tell a shorter one.
    if (forwarded !== undefined || before === undefined) {
      lines += `Forwarded: ${forwarded === undefined ? '' : `${forwarded}, `}${this.#element(host)}\r\n`
    }
    return { lines: lines + this.#own, replaced: ['x-forwarded-for', 'forwarded'] }
  }

  get #proto(): string {
    return this.#client.secure ? 'https' : 'http'
  }

  #forAddress(): string {
    const { address } = this.#client
    const proto = `X-Forwarded-Proto: ${this.#proto}\r\n`
    return address === undefined ? proto : `X-Forwarded-For: ${address}\r\n${proto}`
  }

  #forHost(host: string | undefined): string {
    if (host === undefined || host === '') return ''
    // The port the client dialled, not the one we listen on: behind a Service or a published port the two differ,
    // and applications build absolute links from this.
    const port = /:(\d+)$/.exec(host)?.[1] ?? (this.#client.secure ? '443' : '80')
    return `X-Forwarded-Host: ${host}\r\nX-Forwarded-Port: ${port}\r\n`
  }

  #element(host: string | undefined): string {
    const { address } = this.#client
    let node = 'unknown'
    if (address !== undefined) node = isIPv6(address) ? `"[${address}]"` : address
    const named = host === undefined || host === '' ? '' : `;host="${host}"`
    return `for=${node}${named};proto=${this.#proto}`
  }
}
