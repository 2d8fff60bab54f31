import { connect, type TLSSocket } from 'node:tls'

/**
 * A client that makes a new TLS 1.3 connection for each request, with a full handshake, since wrk resumes sessions whether
 * or not that is wanted: `node connecting-client.ts <port> <path> <seconds> <connections at a time>`. Prints the result.
 */
export interface ConnectingResult {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly failed: number
  /** Handshakes that were not full or not TLS 1.3: there must be none. */
  readonly unwanted: number
}

const [port, path, seconds, connections] = process.argv.slice(2)
const end = performance.now() + Number(seconds) * 1000
const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`
const times: number[] = []
let failed = 0
let unwanted = 0

function one(): Promise<void> {
  return new Promise((resolve) => {
    const begun = performance.now()
    let answered = false
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: Number(port),
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
    })
    socket.once('secureConnect', () => {
      if (socket.isSessionReused() || socket.getProtocol() !== 'TLSv1.3') unwanted++
      socket.write(request)
    })
    socket.once('data', (bytes) => {
      answered = bytes.toString('latin1', 0, 12) === 'HTTP/1.1 200'
    })
    socket.on('error', () => socket.destroy())
    socket.once('close', () => {
      if (answered) times.push(performance.now() - begun)
      else failed++
      resolve()
    })
  })
}

async function client(): Promise<void> {
  while (performance.now() < end) await one()
}

await Promise.all(Array.from({ length: Number(connections) }, client))
times.sort((a, b) => a - b)
const at = (part: number) => times[Math.floor(times.length * part)] ?? Number.NaN
const result: ConnectingResult = { p50Ms: at(0.5), p99Ms: at(0.99), failed, unwanted }
console.log(JSON.stringify(result))
