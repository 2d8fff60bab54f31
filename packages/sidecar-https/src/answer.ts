import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'

/** What the sidecar itself says to a client. */
export interface Answer {
  status: number
  message: string
}

// The answers name nothing of the inside, neither the target nor the cause: they go to strangers.
export const BAD_GATEWAY: Answer = { status: 502, message: 'The application did not give a valid response.' }
export const GATEWAY_TIMEOUT: Answer = { status: 504, message: 'The application did not respond in time.' }
export const CONNECT_REFUSED: Answer = { status: 501, message: 'This server is not a proxy for CONNECT.' }
export const EXPECTATION_FAILED: Answer = { status: 417, message: 'Only 100-continue can be expected.' }
export const UPGRADE_REFUSED: Answer = {
  status: 400,
  message: 'A request to upgrade cannot have a body.',
}

/** The answer to bytes that Node's parser gave up on; undefined when the connection itself failed. */
export function answerToParserError(code: string | undefined): Answer | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return { status: 408, message: 'The request took too long to arrive.' }
  if (code === 'HPE_HEADER_OVERFLOW') return { status: 431, message: 'The request head is too large.' }
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW')
    return { status: 413, message: 'Chunk extensions are too large.' }
  if (code?.startsWith('HPE_')) return { status: 400, message: 'The request is malformed.' }
  return undefined
}

/** Sends `answer` as the response, as JSON when the client accepts that and as plain text otherwise. */
export function sendAnswer(
  res: ServerResponse,
  accept: string | undefined,
  answer: Answer,
  close: boolean,
): void {
  const [head, body] = render(accept, answer)
  // The reason too, because an attempt to send a bad one leaves it behind.
  res.writeHead(answer.status, STATUS_CODES[answer.status], close ? [...head, 'Connection', 'close'] : head)
  res.end(body)
}

/** Sends `answer` on a connection that has no response object, reads what is still under way, and closes it. */
export function sendRawAnswer(socket: Socket, answer: Answer, lingerMs: number): void {
  const [head, body] = render(undefined, answer)
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}`, 'Connection: close']
  for (let index = 0; index < head.length; index += 2) lines.push(`${head[index]}: ${head[index + 1]}`)
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('end', () => socket.destroySoon())
  socket.once('close', () => clearTimeout(timer))
}

function render(accept: string | undefined, { status, message }: Answer): [string[], string] {
  const json = accept !== undefined && /\bjson\b/i.test(accept)
  const body = json ? JSON.stringify({ status, error: STATUS_CODES[status], message }) : `${message}\n`
  const type = json ? 'application/json' : 'text/plain; charset=utf-8'
  return [['Content-Type', type, 'Content-Length', `${body.length}`, 'Cache-Control', 'no-store'], body]
}
