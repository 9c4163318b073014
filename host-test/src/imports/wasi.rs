//! The WASI calls that Envoy offers: no files, no arguments, output to the log, the host's clock and randomness.

use crate::imports::memory::{peek, poke};
use crate::imports::{Ctx, Done, Halt, Imports};
use crate::process::Level;

const BADF: Halt = Halt::Code(8);
const FAULT: Halt = Halt::Code(21);
const INVAL: Halt = Halt::Code(28);
const NOENT: Halt = Halt::Code(44);
const NOSYS: Halt = Halt::Code(52);
const NOTSUP: Halt = Halt::Code(58);

/// `random_get` refuses larger requests, like `Crypto.getRandomValues()`.
const MAX_RANDOM: u32 = 64 * 1024;

macro_rules! wasi {
    ($imports:expr, $($name:literal => $path:ident ( $($arg:ident : $ty:ty),* )),+ $(,)?) => { $(
        for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
            $imports.names.insert((module, $name));
            $imports.linker.func_wrap(module, $name, |mut ctx: Ctx<'_>, $($arg: $ty),*| -> wasmtime::Result<u32> {
                super::code($path(&mut ctx, $($arg),*))
            })?;
        }
    )+ };
}

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    wasi!(imports,
        "args_sizes_get" => args_sizes_get(count: u32, size: u32),
        "args_get" => args_get(array: u32, buffer: u32),
        "environ_sizes_get" => environ_sizes_get(count: u32, size: u32),
        "environ_get" => environ_get(array: u32, buffer: u32),
        "clock_time_get" => clock_time_get(clock: u32, precision: u64, ptr: u32),
        "clock_res_get" => clock_res_get(clock: u32, ptr: u32),
        "random_get" => random_get(ptr: u32, len: u32),
        "fd_write" => fd_write(fd: u32, vectors: u32, count: u32, written: u32),
        "fd_read" => fd_read(fd: u32, vectors: u32, count: u32, read: u32),
        "fd_seek" => fd_seek(fd: u32, offset: i64, whence: u32, position: u32),
        "fd_close" => fd_close(fd: u32),
        "fd_fdstat_get" => fd_fdstat_get(fd: u32, ptr: u32),
        "fd_fdstat_set_flags" => fd_fdstat_set_flags(fd: u32, flags: u32),
        "fd_filestat_get" => fd_stat(fd: u32, ptr: u32),
        "fd_prestat_get" => fd_stat(fd: u32, ptr: u32),
        "fd_prestat_dir_name" => fd_prestat_dir_name(fd: u32, ptr: u32, len: u32),
        "path_open" => path_open(
            fd: u32, look: u32, path: u32, path_len: u32, flags: u32, rights: u64, inherited: u64, fd_flags: u32,
            opened: u32),
        "path_filestat_get" => path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, ptr: u32),
        "sched_yield" => sched_yield(),
        "poll_oneoff" => poll_oneoff(subscriptions: u32, events: u32, count: u32, ready: u32),
    );
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        imports.names.insert((module, "proc_exit"));
        imports.linker.func_wrap(module, "proc_exit", |code: u32| -> wasmtime::Result<()> {
            Err(wasmtime::format_err!("proc_exit({code})"))
        })?;
    }
    Ok(())
}

fn set_u32(ctx: &mut Ctx<'_>, ptr: u32, value: u32) -> Done {
    poke(ctx, ptr, &value.to_le_bytes()).ok_or(FAULT)
}

fn args_sizes_get(ctx: &mut Ctx<'_>, count: u32, size: u32) -> Done {
    set_u32(ctx, count, 0)?;
    set_u32(ctx, size, 0)
}

fn args_get(_: &mut Ctx<'_>, _: u32, _: u32) -> Done {
    Ok(())
}

/// `NAME=value` and a NUL, for each variable that the configuration names.
fn environ(ctx: &Ctx<'_>) -> Vec<Vec<u8>> {
    ctx.data().settings.env.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

fn environ_sizes_get(ctx: &mut Ctx<'_>, count: u32, size: u32) -> Done {
    let environ = environ(ctx);
    set_u32(ctx, count, crate::vm::size(environ.len()))?;
    set_u32(ctx, size, crate::vm::size(environ.iter().map(Vec::len).sum()))
}

fn environ_get(ctx: &mut Ctx<'_>, mut array: u32, mut buffer: u32) -> Done {
    for entry in environ(ctx) {
        set_u32(ctx, array, buffer)?;
        poke(ctx, buffer, &entry).ok_or(FAULT)?;
        array = array.checked_add(4).ok_or(FAULT)?;
        buffer = buffer.checked_add(crate::vm::size(entry.len())).ok_or(FAULT)?;
    }
    Ok(())
}

fn clock_time_get(ctx: &mut Ctx<'_>, clock: u32, _precision: u64, ptr: u32) -> Done {
    let now = match clock {
        0 => ctx.data().clock.unix_nanos(),
        1 => u64::try_from(ctx.data().clock.monotonic().as_nanos()).unwrap_or(u64::MAX),
        _ => return Err(NOTSUP),
    };
    poke(ctx, ptr, &now.to_le_bytes()).ok_or(FAULT)
}

fn clock_res_get(ctx: &mut Ctx<'_>, clock: u32, ptr: u32) -> Done {
    if clock > 1 {
        return Err(NOTSUP);
    }
    poke(ctx, ptr, &1u64.to_le_bytes()).ok_or(FAULT)
}

fn random_get(ctx: &mut Ctx<'_>, ptr: u32, len: u32) -> Done {
    if len > MAX_RANDOM {
        return Err(INVAL);
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| INVAL)?];
    if !ctx.data_mut().random.fill(&mut bytes) {
        return Err(NOSYS);
    }
    poke(ctx, ptr, &bytes).ok_or(FAULT)
}

fn fd_write(ctx: &mut Ctx<'_>, fd: u32, vectors: u32, count: u32, written: u32) -> Done {
    let level = match fd {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Err(BADF),
    };
    let table = peek(ctx, vectors, count.checked_mul(8).ok_or(FAULT)?).ok_or(FAULT)?;
    let mut text = Vec::new();
    for vector in table.chunks_exact(8) {
        let mut words = vector.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().unwrap_or_default()));
        let (ptr, len) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        if len != 0 {
            text.extend(peek(ctx, ptr, len).ok_or(FAULT)?);
        }
    }
    let total = crate::vm::size(text.len());
    if !text.is_empty() {
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let line = String::from_utf8_lossy(line).into_owned();
        ctx.data_mut().write_log(level, line);
    }
    set_u32(ctx, written, total)
}

fn fd_read(_: &mut Ctx<'_>, _: u32, _: u32, _: u32, _: u32) -> Done {
    Err(NOSYS)
}

fn fd_seek(_: &mut Ctx<'_>, _: u32, _: i64, _: u32, _: u32) -> Done {
    Ok(())
}

fn fd_close(_: &mut Ctx<'_>, _: u32) -> Done {
    Ok(())
}

fn fd_fdstat_get(ctx: &mut Ctx<'_>, fd: u32, ptr: u32) -> Done {
    if fd != 1 && fd != 2 {
        return Err(BADF);
    }
    // A 24-byte fdstat whose only content is the right to write (bit 6).
    let mut stat = [0; 24];
    if let Some(rights) = stat.get_mut(8) {
        *rights = 64;
    }
    poke(ctx, ptr, &stat).ok_or(FAULT)
}

fn fd_fdstat_set_flags(_: &mut Ctx<'_>, _: u32, _: u32) -> Done {
    Err(NOSYS)
}

fn fd_stat(_: &mut Ctx<'_>, _: u32, _: u32) -> Done {
    Err(BADF)
}

fn fd_prestat_dir_name(_: &mut Ctx<'_>, _: u32, _: u32, _: u32) -> Done {
    Err(NOSYS)
}

#[allow(clippy::too_many_arguments, reason = "WASI's signature")]
fn path_open(_: &mut Ctx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32) -> Done {
    Err(NOENT)
}

fn path_filestat_get(_: &mut Ctx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32) -> Done {
    Err(NOTSUP)
}

fn sched_yield(_: &mut Ctx<'_>) -> Done {
    Ok(())
}

fn poll_oneoff(ctx: &mut Ctx<'_>, _: u32, _: u32, _: u32, ready: u32) -> Done {
    set_u32(ctx, ready, 0)
}
