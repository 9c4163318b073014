//! The module's memory, with a status instead of a panic for every pointer that leads astray.

use wasmtime::AsContext as _;

use crate::error::Status;
use crate::imports::{Ctx, Done, Halt};

/// A copy of guest memory; `None` outside its bounds.
pub(crate) fn peek(ctx: &Ctx<'_>, ptr: u32, len: u32) -> Option<Vec<u8>> {
    let memory = ctx.data().memory?;
    let start = usize::try_from(ptr).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    memory.data(ctx.as_context()).get(start..end).map(<[u8]>::to_vec)
}

/// Writes guest memory; `None` outside its bounds.
pub(crate) fn poke(ctx: &mut Ctx<'_>, ptr: u32, bytes: &[u8]) -> Option<()> {
    let memory = ctx.data().memory?;
    memory.write(ctx, usize::try_from(ptr).ok()?, bytes).ok()
}

pub(crate) fn read(ctx: &Ctx<'_>, ptr: u32, len: u32) -> Result<Vec<u8>, Halt> {
    Ok(peek(ctx, ptr, len).ok_or(Status::InvalidMemoryAccess)?)
}

pub(crate) fn write(ctx: &mut Ctx<'_>, ptr: u32, bytes: &[u8]) -> Done {
    Ok(poke(ctx, ptr, bytes).ok_or(Status::InvalidMemoryAccess)?)
}

pub(crate) fn write_u32(ctx: &mut Ctx<'_>, ptr: u32, value: u32) -> Done {
    write(ctx, ptr, &value.to_le_bytes())
}

pub(crate) fn write_u64(ctx: &mut Ctx<'_>, ptr: u32, value: u64) -> Done {
    write(ctx, ptr, &value.to_le_bytes())
}

/// Hands bytes to the module in memory that the module allocates. Nothing is allocated for no bytes: pointer and size
/// are 0 then.
pub(crate) fn give(ctx: &mut Ctx<'_>, bytes: &[u8], ptr_ptr: u32, size_ptr: u32) -> Done {
    let size = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
    let ptr = if size == 0 { 0 } else { allocate(ctx, size)? };
    if size != 0 {
        write(ctx, ptr, bytes)?;
    }
    write_u32(ctx, ptr_ptr, ptr)?;
    write_u32(ctx, size_ptr, size)
}

fn allocate(ctx: &mut Ctx<'_>, size: u32) -> Result<u32, Halt> {
    let malloc = ctx.data().malloc.clone().ok_or(Status::InvalidMemoryAccess)?;
    let ptr = malloc.call(ctx, size)?;
    if ptr == 0 { Err(Status::InvalidMemoryAccess.into()) } else { Ok(ptr) }
}
