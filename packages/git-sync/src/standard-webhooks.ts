import { createHmac, type Hmac } from 'node:crypto'

const PREFIX = 'whsec_'

/**
 * The key of a secret (Standard Webhooks 1.0): base64 behind `whsec_`, and else its bytes as they are.
 *
 * @throws Error where what follows `whsec_` is no base64
 */
export function signingKey(secret: string): Buffer {
  if (!secret.startsWith(PREFIX)) return Buffer.from(secret)
  const text = secret.slice(PREFIX.length)
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    throw new Error(
      `a secret that begins with ${PREFIX} must go on in base64: copy it anew, or leave ${PREFIX} out`,
    )
  return Buffer.from(text, 'base64')
}

/** What the signature `v1` is the base64 of, but for the body, which goes in behind it. */
export function startSignature(key: Buffer, id: string, timestamp: string): Hmac {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`)
}
