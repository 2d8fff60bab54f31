export type { Command, CommandAnswer, CommandInput } from './command.ts'
export {
  type Check,
  type Container,
  type Context,
  defineContainer,
  type Ending,
  type NamedParam,
  type Needs,
  type Pattern,
  type Running,
  type Values,
  type Volume,
} from './container.ts'
export { requireFile } from './follow.ts'
export type { Gate, Notice } from './gates.ts'
export type { Cell, Section } from './html.ts'
export {
  type Address,
  address,
  bytes,
  duration,
  type Facts,
  flag,
  formatAddress,
  integer,
  integerBetween,
  type Kind,
  kindOf,
  listOf,
  oneOf,
  type Param,
  type ParamFactory,
  path,
  regex,
  secret,
  text,
  url,
  urlOf,
} from './kinds.ts'
export { StartError } from './launch.ts'
export { isShared } from './listeners.ts'
export type { Log, LogFields } from './log.ts'
export { counter, gauge, histogram } from './metrics.ts'
export type { Former, Retired } from './older-names.ts'
export type { PageSpec } from './pages.ts'
export { run } from './run.ts'
export { type AskableSignal, askableSignals } from './signals.ts'
export { type Throttle, throttle } from './throttle.ts'
export { version } from './version.ts'
export {
  type DirectoryContents,
  type DirectoryWatcher,
  type FileContents,
  type FileWatcher,
  type WatchOptions,
  watchDirectory,
  watchFiles,
} from './watch.ts'
