import {
  encodeArrayHeader,
  encodeBulk,
  encodeError,
  encodeInteger,
  encodeMapHeader,
  encodeNull,
  encodeSimple,
  encodeVerbatim,
  type Protocol,
} from '@outrider/resp'
import type { Command } from './command.ts'

/** What is known of a client, and can be changed by its commands. */
export interface Session {
  readonly id: number
  protocol: Protocol
  /** Undefined until it has said who it is, where that is asked. */
  user: string | undefined
  name: string
  libName: string
  libVersion: string
  /** What CLIENT REPLY has chosen; `skip` for one reply. */
  replies: 'on' | 'off' | 'skip'
  readonly type: 'normal' | 'pubsub'
  /** One line of CLIENT LIST. */
  describe(): string
}

/** Who the ambassador lets in. */
export interface Users {
  /** Whether clients must say who they are. */
  readonly required: boolean
  check(user: string, password: string): boolean
}

/** What local commands need of the ambassador. */
export interface LocalHost {
  readonly users: Users
  sessions(): Iterable<Session>
  /** Ends clients by address or id; gives how many. */
  kill(filter: KillFilter, self: Session): number
}

export interface KillFilter {
  readonly id?: number
  readonly address?: string
  readonly skipMe: boolean
}

/** A reply, and what becomes of the connection behind it. */
export interface LocalReply {
  readonly reply: Buffer
  readonly behind?: 'close' | 'reset'
}

const OK = encodeSimple('OK')
const error = (text: string): LocalReply => ({ reply: encodeError(text) })
const ok: LocalReply = { reply: OK }
const SYNTAX = 'ERR syntax error'
const WRONG_PASSWORD = 'WRONGPASS invalid username-password pair or user is disabled.'
const NO_PASSWORD =
  'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?'
/** Of the Redis whose commands are known here; clients decide by it what they may use. */
const VERSION = '7.4.0'

/** Answers a command that no shard is asked for. `args` are as sent, the name of the command among them. */
export function answerLocally(
  command: Command,
  args: readonly Buffer[],
  session: Session,
  host: LocalHost,
): LocalReply {
  const text = (index: number): string => args[index]?.toString() ?? ''
  switch (command.name) {
    case 'ping':
      if (args.length > 2) return error("ERR wrong number of arguments for 'ping' command")
      return { reply: args[1] === undefined ? encodeSimple('PONG') : encodeBulk(args[1]) }
    case 'echo':
      return { reply: encodeBulk(args[1] ?? '') }
    case 'quit':
      return { reply: OK, behind: 'close' }
    case 'reset':
      return { reply: encodeSimple('RESET'), behind: 'reset' }
    case 'select':
      return select(text(1))
    case 'auth':
      return auth(args, session, host.users)
    case 'hello':
      return hello(args, session, host.users)
    case 'time':
      return { reply: time() }
    case 'role':
      return {
        reply: Buffer.concat([
          encodeArrayHeader(3),
          encodeBulk('master'),
          encodeInteger(0),
          encodeArrayHeader(0),
        ]),
      }
    case 'acl|whoami':
      return { reply: encodeBulk(session.user ?? 'default') }
    case 'module|list':
      return { reply: encodeArrayHeader(0) }
    case 'client|id':
      return { reply: encodeInteger(session.id) }
    case 'client|getname':
      return { reply: session.name === '' ? encodeNull(session.protocol) : encodeBulk(session.name) }
    case 'client|setname':
      return setName(text(2), session)
    case 'client|setinfo':
      return setInfo(text(2).toLowerCase(), text(3), session)
    case 'client|info':
      return { reply: encodeVerbatim(`${session.describe()}\n`, session.protocol) }
    case 'client|list':
      return list(args, session, host)
    case 'client|kill':
      return kill(args, session, host)
    case 'client|reply':
      return reply(text(2).toLowerCase(), session)
    case 'client|no-evict':
      return /^(on|off)$/i.test(text(2)) ? ok : error(SYNTAX)
    case 'client|no-touch':
      return noTouch(text(2).toLowerCase())
    case 'client|getredir':
      return { reply: encodeInteger(-1) }
    case 'client|trackinginfo':
      return {
        reply: Buffer.concat([
          ...[
            encodeMapHeader(3, session.protocol),
            encodeBulk('flags'),
            Buffer.from(session.protocol === 3 ? '~1\r\n' : '*1\r\n'),
            encodeBulk('off'),
          ],
          ...[encodeBulk('redirect'), encodeInteger(-1), encodeBulk('prefixes'), encodeArrayHeader(0)],
        ]),
      }
    default:
      return error(`ERR wrong number of arguments for '${command.name}' command`)
  }
}

function select(index: string): LocalReply {
  if (!/^-?\d+$/.test(index)) return error('ERR value is not an integer or out of range')
  if (Number(index) === 0) return ok
  return error(
    'ERR SELECT is refused: the shards are one keyspace; use database 0, or an ambassador for each database',
  )
}

function auth(args: readonly Buffer[], session: Session, users: Users): LocalReply {
  if (args.length > 3) return error(SYNTAX)
  const [, first = Buffer.alloc(0), second] = args
  if (second === undefined && !users.required) return error(NO_PASSWORD)
  const user = second === undefined ? 'default' : first.toString()
  if (!users.check(user, (second ?? first).toString())) return error(WRONG_PASSWORD)
  session.user = user
  return ok
}

function hello(args: readonly Buffer[], session: Session, users: Users): LocalReply {
  let protocol = session.protocol
  let user: string | undefined
  let name: string | undefined
  if (args[1] !== undefined) {
    const version = args[1].toString()
    if (!/^-?\d+$/.test(version)) return error('ERR Protocol version is not an integer or out of range')
    if (version !== '2' && version !== '3') return error('NOPROTO unsupported protocol version')
    protocol = version === '3' ? 3 : 2
  }
  for (let at = 2; at < args.length; at += 1) {
    const option = args[at]?.toString().toLowerCase()
    if (option === 'auth' && at + 2 < args.length) {
      const [claimed, password] = [args[at + 1]?.toString() ?? '', args[at + 2]?.toString() ?? '']
      if (!users.check(claimed, password)) return error(WRONG_PASSWORD)
      user = claimed
      at += 2
    } else if (option === 'setname' && at + 1 < args.length) {
      name = args[at + 1]?.toString() ?? ''
      if (!isName(name)) return error(BAD_NAME)
      at += 1
    } else {
      return error(`ERR Syntax error in HELLO option '${args[at]?.toString() ?? ''}'`)
    }
  }
  if (user === undefined && session.user === undefined) {
    return error(
      'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time',
    )
  }
  session.user = user ?? session.user
  session.name = name ?? session.name
  session.protocol = protocol
  return {
    reply: Buffer.concat([
      encodeMapHeader(7, protocol),
      ...[encodeBulk('server'), encodeBulk('redis'), encodeBulk('version'), encodeBulk(VERSION)],
      ...[encodeBulk('proto'), encodeInteger(protocol), encodeBulk('id'), encodeInteger(session.id)],
      ...[encodeBulk('mode'), encodeBulk('standalone'), encodeBulk('role'), encodeBulk('master')],
      ...[encodeBulk('modules'), encodeArrayHeader(0)],
    ]),
  }
}

function time(): Buffer {
  const microseconds = Math.round((performance.timeOrigin + performance.now()) * 1000)
  const seconds = Math.floor(microseconds / 1_000_000)
  return Buffer.concat([
    ...[
      encodeArrayHeader(2),
      encodeBulk(String(seconds)),
      encodeBulk(String(microseconds - seconds * 1_000_000)),
    ],
  ])
}

const BAD_NAME = 'ERR Client names cannot contain spaces, newlines or special characters.'

// As Redis: CLIENT LIST separates its fields by spaces.
function isName(text: string): boolean {
  return /^[!-~]*$/.test(text)
}

function setName(name: string, session: Session): LocalReply {
  if (!isName(name)) return error(BAD_NAME)
  session.name = name
  return ok
}

function setInfo(option: string, value: string, session: Session): LocalReply {
  if (option !== 'lib-name' && option !== 'lib-ver') return error(`ERR Unrecognized option '${option}'`)
  if (!isName(value)) return error(`ERR ${option} cannot contain spaces, newlines or special characters.`)
  if (option === 'lib-name') session.libName = value
  else session.libVersion = value
  return ok
}

// The ambassador evicts nobody, but a connection to a shard serves many clients, which may want to touch their keys.
function noTouch(choice: string): LocalReply {
  if (choice === 'off') return ok
  if (choice !== 'on') return error(SYNTAX)
  return error(
    'ERR CLIENT NO-TOUCH is refused: a connection to a shard serves many clients, and it would hold for all of them; leave it out',
  )
}

const CLIENT_TYPES: ReadonlySet<string> = new Set(['normal', 'pubsub', 'master', 'replica', 'slave'])

function list(args: readonly Buffer[], session: Session, host: LocalHost): LocalReply {
  let isWanted = (_: Session): boolean => true
  if (args.length > 2) {
    const option = args[2]?.toString().toLowerCase()
    if (option === 'id' && args.length > 3) {
      const ids = args.slice(3).map((id) => Number(id.toString()))
      if (ids.some((id) => !Number.isInteger(id))) return error('ERR Invalid client ID')
      isWanted = ({ id }) => ids.includes(id)
    } else if (option === 'type' && args.length === 4) {
      const type = args[3]?.toString().toLowerCase() ?? ''
      if (!CLIENT_TYPES.has(type)) return error(`ERR Unknown client type '${args[3]?.toString() ?? ''}'`)
      isWanted = (one) => one.type === type
    } else return error(SYNTAX)
  }
  let text = ''
  for (const one of host.sessions()) if (isWanted(one)) text += `${one.describe()}\n`
  return { reply: encodeVerbatim(text, session.protocol) }
}

function kill(args: readonly Buffer[], session: Session, host: LocalHost): LocalReply {
  if (args.length === 3) {
    const killed = host.kill({ address: args[2]?.toString() ?? '', skipMe: false }, session)
    return killed > 0 ? ok : error('ERR No such client')
  }
  let id: number | undefined
  let address: string | undefined
  let skipMe = true
  if (args.length % 2 === 1) return error(SYNTAX)
  for (let at = 2; at + 1 < args.length; at += 2) {
    const option = args[at]?.toString().toLowerCase()
    const value = args[at + 1]?.toString() ?? ''
    if (option === 'id') {
      id = Number(value)
      if (!Number.isInteger(id) || id < 1) return error('ERR client-id should be greater than 0')
    } else if (option === 'addr') address = value
    else if (option === 'skipme' && /^(yes|no)$/i.test(value)) skipMe = value.toLowerCase() === 'yes'
    else return error(SYNTAX)
  }
  const filter = { skipMe, ...(id !== undefined && { id }), ...(address !== undefined && { address }) }
  return { reply: encodeInteger(host.kill(filter, session)) }
}

function reply(choice: string, session: Session): LocalReply {
  if (choice !== 'on' && choice !== 'off' && choice !== 'skip') return error(SYNTAX)
  // As at Redis: who wants no reply at all has none to skip.
  if (choice !== 'skip' || session.replies === 'on') session.replies = choice
  return choice === 'on' ? ok : { reply: Buffer.alloc(0) }
}
