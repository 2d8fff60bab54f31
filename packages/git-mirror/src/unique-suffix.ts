import { randomBytes } from 'node:crypto'

/** Twelve characters that no other name has. */
export const uniqueSuffix = (): string => randomBytes(6).toString('hex')
