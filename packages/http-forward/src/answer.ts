import { STATUS_CODES } from 'node:http'
import type { Fault } from './head.ts'

/** What the forwarder, or a route, says to a client itself. */
export interface Answer {
  readonly status: number
  /** For people; as text, or as JSON where the client accepts that. Nothing is sent with a status that has no body. */
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}

// The answers name nothing of the inside, neither the target nor the cause: they go to strangers.
export const BAD_GATEWAY: Answer = { status: 502, message: 'The application did not give a valid response.' }
export const UNREACHABLE: Answer = { status: 502, message: 'The application could not be reached.' }
export const GATEWAY_TIMEOUT: Answer = { status: 504, message: 'The application did not respond in time.' }
export const TOO_SLOW: Answer = { status: 408, message: 'The request took too long to arrive.' }
export const TOO_LARGE: Answer = { status: 413, message: 'The body of the request is too large.' }
export const CONNECT_REFUSED: Answer = { status: 501, message: 'This server is not a proxy for CONNECT.' }
export const OVERLOADED: Answer = { status: 503, message: 'Too many requests are being served.' }
export const ROUTE_FAILED: Answer = { status: 500, message: 'The request could not be routed.' }

/** What a client is told of its fault. */
export function faultAnswer({ status, reason }: Fault): Answer {
  return { status, message: `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.` }
}

export interface RenderedAnswer {
  readonly status: number
  readonly reason: string
  /** Header lines, each with its end; without the framing. */
  readonly lines: string
  readonly body: Buffer
}

/** @param accept value of the client's Accept header */
export function render(
  { status, message, headers = {} }: Answer,
  accept: string | undefined,
): RenderedAnswer {
  // Less would be an interim response, behind which the client waits for another.
  if (!Number.isInteger(status) || status < 200 || status > 999)
    throw new Error(`${status} is no status of an answer: give one from 200 to 999`)
  const reason = STATUS_CODES[status] ?? ''
  let lines = ''
  for (const [name, value] of Object.entries(headers)) lines += headerLine(name, value)
  if (status === 204 || status === 304) {
    return { status, reason, lines, body: Buffer.alloc(0) }
  }
  const json = accept !== undefined && /\bjson\b/i.test(accept)
  const text = json ? JSON.stringify({ status, error: reason, message }) : `${message}\n`
  lines += `Content-Type: ${json ? 'application/json' : 'text/plain; charset=utf-8'}\r\nCache-Control: no-store\r\n`
  return { status, reason, lines, body: Buffer.from(text) }
}

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
// A second length, or one taken away, would shift where the next message begins.
const FRAMING = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be in a value
const NO_VALUE = /[\x00-\x08\x0a-\x1f\x7f\u0100-\uffff]/

/** Throws where a header is none, or belongs to the framing of the message. */
export function checkHeaderName(name: string): void {
  if (!HEADER_NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a header`)
  if (FRAMING.has(name.toLowerCase()))
    throw new Error(`the header ${name} frames the message: leave it to the forwarder`)
}

/** `Name: value` with its end; throws where either could break out of its line, or reframe the message. */
export function headerLine(name: string, value: string): string {
  checkHeaderName(name)
  if (NO_VALUE.test(value)) throw new Error(`the value of the header ${name} has a forbidden character`)
  return `${name}: ${value}\r\n`
}
