import http, { type ClientRequest } from 'node:http'
import { systemAuthorities } from './system-authorities.ts'

export interface ExchangeOptions {
  /** http or https; a user and a password in it are sent as basic authentication. */
  readonly url: URL
  readonly method: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** For all of it, from the name's resolution to the last byte of the answer. */
  readonly limitMs: number
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY, where they are to be heeded. */
  readonly proxies?: Readonly<Record<string, string | undefined>>
}

export interface Answer {
  readonly status: number
  readonly body: string
}

const mostBytes = 64 * 1024

/**
 * One request without a body on a connection of its own. No redirect is followed: it would take credentials elsewhere.
 * @throws Error that says why there is no whole answer of at most 64 KiB, and nothing of what was sent or received
 */
export async function exchange({
  url,
  method,
  headers = {},
  limitMs,
  proxies,
}: ExchangeOptions): Promise<Answer> {
  const isSecure = url.protocol === 'https:'
  const { Agent, request } = isSecure ? await import('node:https') : http
  const trusted = isSecure ? await systemAuthorities() : {}
  const agent = new Agent({ ...(proxies !== undefined && { proxyEnv: { ...proxies } }) })
  const signal = AbortSignal.timeout(limitMs)
  const all = { 'User-Agent': 'git-sync', ...headers }
  const sent = request(url, { method, agent, signal, headers: all, ...trusted })
  try {
    return await answerTo(sent)
  } catch (error) {
    throw signal.aborted ? new Error(`did not answer within ${limitMs / 1000} s`) : error
  } finally {
    sent.destroy()
    agent.destroy()
  }
}

function answerTo(request: ClientRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (what: string) => reject(new Error(what))
    // Node's own words quote nothing of the exchange; where several addresses fail there is but a code.
    request.on('error', ({ message, code }: NodeJS.ErrnoException) =>
      fail(`cannot be reached: ${message || code}`),
    )
    let isAnswered = false
    request.on('close', () => isAnswered || fail('closed the connection without an answer'))
    request.on('response', (response) => {
      isAnswered = true
      const chunks: Buffer[] = []
      let length = 0
      response.on('error', () => fail('broke off its answer'))
      response.on('close', () => fail('broke off its answer'))
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        chunks.push(chunk)
        if (length > mostBytes) fail('answered with more than 64 KiB')
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      )
    })
    request.end()
  })
}
