/**
 * Every expected failure of WAIaaS. Each class carries `message` (what happened, and to what), `next`
 * (what to type) and `exitCode` (how the command ends when nothing had been changed yet).
 */
import type {
  BackupDamaged,
  BackupForeign,
  ConfigChanged,
  ConfigInvalid,
  DatabaseFailed,
  DatabaseInUse,
  DatabaseTooNew,
  DatabaseTooOld,
  DataNotMigrated,
  FileFailed,
  KeystoreDamaged,
  LockBusy,
  MigrationFailed,
  MigrationHistoryDiffers,
  NoBackup,
  NotInitialised,
  NoWorkingDirectory,
  UnsafeDataDir,
} from "./DataErrors.ts"
import type {
  BadTarget,
  CandidateBroken,
  CandidateRefused,
  NoPermission,
  NoSpace,
  NotNpmGlobal,
  NpmFailed,
  PackageDamaged,
  PackageNotMovable,
  RestartWouldFail,
} from "./PackageErrors.ts"
import type { PlaceNotChangeable } from "./PlaceErrors.ts"
import type {
  DaemonStartFailed,
  DaemonStopTimeout,
  DaemonUnreachable,
  Interrupted,
  JournalDamaged,
  OtherOwner,
  RecoveryPaused,
  RequestRefused,
  RunDefect,
  Unconfirmed,
  UnfinishedRun,
  UpgradeInProgress,
  VerificationFailed,
} from "./RunErrors.ts"
import type { NotUnderstood, OtherRefusal } from "./ToolErrors.ts"

export type UpgradeError =
  | NotInitialised
  | NoWorkingDirectory
  | UnsafeDataDir
  | ConfigInvalid
  | FileFailed
  | KeystoreDamaged
  | LockBusy
  | DatabaseFailed
  | DatabaseInUse
  | DatabaseTooNew
  | DatabaseTooOld
  | MigrationHistoryDiffers
  | MigrationFailed
  | BackupDamaged
  | ConfigChanged
  | PlaceNotChangeable
  | BackupForeign
  | DataNotMigrated
  | NoBackup
  | NotNpmGlobal
  | NoPermission
  | PackageDamaged
  | PackageNotMovable
  | NpmFailed
  | CandidateRefused
  | BadTarget
  | CandidateBroken
  | RestartWouldFail
  | NoSpace
  | DaemonStopTimeout
  | DaemonUnreachable
  | DaemonStartFailed
  | OtherOwner
  | VerificationFailed
  | RunDefect
  | UpgradeInProgress
  | UnfinishedRun
  | JournalDamaged
  | Interrupted
  | RecoveryPaused
  | Unconfirmed
  | RequestRefused
  | NotUnderstood
  | OtherRefusal
