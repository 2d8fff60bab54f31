export type { Access, Credential, SshAccess } from './access.ts'
