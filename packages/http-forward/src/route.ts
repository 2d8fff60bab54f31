import type { Answer } from './answer.ts'
import type { Request, Response } from './request.ts'
import type { Upstream } from './upstream.ts'

/** Header values to set, in place of those that are there; undefined takes a header away. */
export type HeaderChanges = Readonly<Record<string, string | undefined>>

/** Why an attempt counts as failed: `error` when no response came, else its status, 500 or more. */
export interface Failure {
  /** 1 for the first. */
  readonly attempt: number
  readonly upstream: Upstream
  readonly error: Error | undefined
  readonly status: number | undefined
}

/** Where a request goes. */
export interface Forward {
  readonly upstream: Upstream
  /** Changes to the request's headers. */
  readonly headers?: HeaderChanges
  /** In place of the client's; begins with a slash. */
  readonly target?: string
  /**
   * Asked after a failed attempt while the request can still be repeated: nothing of its body was sent, and either it
   * is idempotent or no connection was made. Gives the upstream to try next; undefined to leave it at that.
   */
  readonly retry?: (failure: Failure) => Upstream | undefined
  /** Gets a copy of the request, whose response is thrown away. It never slows the request down. */
  readonly shadow?: Upstream
  /** Sees the head of the response before the client does; gives changes to its headers. */
  // biome-ignore lint/suspicious/noConfusingVoidType: an observer returns nothing
  readonly onResponse?: (response: Response) => HeaderChanges | undefined | void
}

/** What the route itself says to the client. */
export interface Respond {
  readonly respond: Answer
}

/** Decides for each request; called when its head is complete and before its body is read. */
export type Route = (request: Request) => Forward | Respond | Promise<Forward | Respond>
