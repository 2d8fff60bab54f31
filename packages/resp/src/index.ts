export { COMMAND_LIMITS, type CommandLimits, type CommandProgress, CommandReader } from './command-reader.ts'
export {
  encodeArrayHeader,
  encodeBoolean,
  encodeBulk,
  encodeCommand,
  encodeDouble,
  encodeError,
  encodeInteger,
  encodeMapHeader,
  encodeNull,
  encodeNullArray,
  encodePushHeader,
  encodeSetHeader,
  encodeSimple,
  encodeVerbatim,
  type Protocol,
} from './encode.ts'
export { type Entries, elements, type Reply, readReply } from './reply-reader.ts'
export { REPLY_LIMITS, type ReplyLimits, ReplyScanner } from './reply-scanner.ts'
