// An application that keeps its users in the one Redis that it knows, at localhost:6379. It was written long ago, and has
// never heard of shards.
const { createServer } = require('node:http')
const { connect } = require('node:net')

createServer(async (request, response) => {
  const { method, url } = request
  const ids = decodeURIComponent(url)
    .match(/^\/users\/(.+)$/)?.[1]
    .split(',')
  try {
    if (ids === undefined) {
      response.end(`connections to Redis since the start: ${connections}\n`)
    } else if (method === 'PUT') {
      let body = ''
      for await (const text of request.setEncoding('utf8')) body += text
      await redis('SET', `user:${ids[0]}`, body)
      response.end(`${ids[0]} is kept\n`)
    } else {
      const users = await redis('MGET', ...ids.map((id) => `user:${id}`))
      response.end(users.map((user, index) => `${ids[index]}: ${user ?? 'nobody'}\n`).join(''))
    }
  } catch (error) {
    response.writeHead(500).end(`${error.message}\n`)
  }
}).listen(8080)

process.on('SIGTERM', () => process.exit(0))

let socket
let connections = 0
const waiting = []

// One connection for all: commands follow each other, and so do their replies.
function redis(...words) {
  socket ??= open()
  const lines = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  socket.write(`*${words.length}\r\n${lines.join('')}`)
  return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
}

function open() {
  connections += 1
  let bytes = Buffer.alloc(0)
  const opened = connect(6379, '127.0.0.1')
  opened.on('error', () => {})
  opened.on('close', () => {
    socket = undefined
    for (const { reject } of waiting.splice(0)) reject(new Error('Redis is gone'))
  })
  opened.on('data', (more) => {
    bytes = Buffer.concat([bytes, more])
    for (let reply = read(bytes, 0); reply !== undefined; reply = read(bytes, 0)) {
      bytes = bytes.subarray(reply.end)
      const { resolve, reject } = waiting.shift()
      if (reply.value instanceof Error) reject(reply.value)
      else resolve(reply.value)
    }
  })
  return opened
}

// The reply that begins at an offset, and where it ends; undefined as long as it is not all there.
function read(bytes, at) {
  const line = bytes.indexOf('\r\n', at)
  if (line < 0) return undefined
  const text = bytes.toString('utf8', at + 1, line)
  const end = line + 2
  switch (bytes.toString('latin1', at, at + 1)) {
    case '-':
      return { value: new Error(text), end }
    case '$': {
      const behind = end + Number(text) + 2
      if (text === '-1') return { value: null, end }
      return behind > bytes.length
        ? undefined
        : { value: bytes.toString('utf8', end, behind - 2), end: behind }
    }
    case '*': {
      const list = { value: [], end }
      while (list.value.length < Number(text)) {
        const next = read(bytes, list.end)
        if (next === undefined) return undefined
        list.value.push(next.value)
        list.end = next.end
      }
      return list
    }
    default:
      return { value: text, end }
  }
}
