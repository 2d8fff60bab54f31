/**
 * What our sources import of node:http, as it is. The names of an ES module of Node itself are all read when it is
 * imported, WebSocket among them, and with it come HTTP/2, TLS and a whole client: six megabytes.
 */
const http = process.getBuiltinModule('node:http')
export const { Agent, createServer, request, STATUS_CODES } = http
export default http
