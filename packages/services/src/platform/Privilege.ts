import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

export interface Identity {
  readonly uid: number
  readonly gid: number
}

/** A root that may not act as another user: one of a container without that capability, or of a user namespace. Internal: callers map it. */
export class RightsRefused extends Data.TaggedError("RightsRefused")<{ readonly code: string }> {}

interface Rights {
  /** Gives up root's rights for the data owner's, until the process ends; where the system refuses that, none is given up. */
  readonly become: (owner: Identity) => Effect.Effect<void, RightsRefused>
  /** The data owner whose rights were taken; undefined where this process has always been itself. */
  readonly taken: () => Identity | undefined
  /** An act on the installed package, with the rights that this process began with. */
  readonly asInstaller: <A, E, R>(act: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Root's rights again, for what replaces this process and begins anew. */
  readonly restore: Effect.Effect<void>
  /** The data owner's rights and no way back to root's: for a program that takes this process over. */
  readonly renounce: Effect.Effect<void>
  /** Calls `start` so that the child is the data owner for good, not only in effect. */
  readonly asOwner: <A>(start: (identity: Identity | undefined) => A) => A
}

const makeRights = (): Rights => {
  let owner: Identity | undefined
  const drop = ({ uid, gid }: Identity) => {
    process.setegid?.(gid)
    process.seteuid?.(uid)
  }
  // What root may through its groups, the owner may not.
  const leaveGroups = ({ gid }: Identity) => process.setgroups?.([gid])
  const raise = () => {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
  return {
    taken: () => owner,
    become: (identity) =>
      Effect.try({
        try: () => {
          leaveGroups(identity)
          drop(identity)
          owner = identity
        },
        catch: (cause) => {
          raise()
          return new RightsRefused({
            code: cause instanceof Error && "code" in cause ? String(cause.code) : String(cause),
          })
        },
      }),
    restore: Effect.sync(() => {
      if (owner !== undefined) raise()
    }),
    renounce: Effect.sync(() => {
      if (owner === undefined) return
      raise()
      leaveGroups(owner)
      process.setgid?.(owner.gid)
      process.setuid?.(owner.uid)
    }),
    asInstaller: (act) =>
      Effect.suspend(() => {
        const identity = owner
        return identity === undefined || process.geteuid?.() === 0
          ? act
          : Effect.acquireUseRelease(
              Effect.sync(raise),
              () => act,
              () => Effect.sync(() => drop(identity)),
            )
      }),
    asOwner: (start) => {
      if (owner === undefined) return start(undefined)
      raise()
      try {
        return start(owner)
      } finally {
        drop(owner)
      }
    },
  }
}

/**
 * Whose rights an act has. Under sudo the data belongs to one user and the package to root: the process
 * takes the data owner's rights as soon as it knows them, and root's again only for acts on the package.
 * The rights are the whole process's: what else goes on during such an act has them as well. So an act on the data is never
 * concurrent with one on the package; the watch of the daemon and of npm's progress, which are, only read.
 */
export class Privilege extends Context.Reference<Privilege>()("@waiaas/services/Privilege", {
  defaultValue: makeRights,
}) {}
