export { type AccessSettings, readAccess, type SshSettings } from './access-source.ts'
export { addUser } from './add-user.ts'
export { type CheapRefsSettings, openCheapRefs } from './cheap-refs.ts'
export {
  type CredentialSource,
  joinCredentials,
  parseCredentials,
  secretsInCredentials,
  shownCredentials,
} from './credential-list.ts'
export { errorKind } from './error-kind.ts'
export { type EventLine, eventLine } from './event-line.ts'
export { secretsInGitConfig, shownGitConfig } from './git-config-secrets.ts'
export { type GitSetting, parseGitConfigText } from './git-config-text.ts'
export { createGitHubApp, type GitHubApp, gitHubAppFaults, isOfGitHub } from './github-app.ts'
export { parseGoBool } from './go-bool.ts'
export { longestTimerMs, parseGoDuration } from './go-duration.ts'
export { parseGoInteger } from './go-integer.ts'
export { timeoutText, waitText } from './go-seconds.ts'
export type { HookReport } from './hook-runner.ts'
export { LegacyMetrics } from './legacy-metrics.ts'
export { defaultLink, isNested, resolveLink } from './link-path.ts'
export { type PeerOption, peerOptions } from './peer-options.ts'
export { startProbeEndpoint } from './probe-endpoint.ts'
export { ProgramError } from './program.ts'
export { loginFaults, loginOf, splitRepo } from './repo-credentials.ts'
export { type RepositoryEntry, readRepositories } from './repositories-file.ts'
export {
  type ExecHook,
  type RepositorySettings,
  type RepositoryStatus,
  type RepositorySync,
  type Surroundings,
  startRepository,
} from './repository.ts'
export { RepositorySet, type Wanted } from './repository-set.ts'
export { statusSections } from './status-sections.ts'
export type { SyncReport } from './sync-loop.ts'
export { startTrigger, type TriggerReport } from './trigger.ts'
export { createWebhook } from './webhook.ts'
