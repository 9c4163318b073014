//! What outlives a VM: shared data, queues, metrics.

use crate::error::Status;
use crate::imports::memory::{give, read, write_u32, write_u64};
use crate::imports::{Ctx, Done, Halt, Imports, env};
use crate::process::{Metric, MetricKind};

pub(super) fn register(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports,
        "proxy_get_shared_data" => get_data(key: u32, key_len: u32, ptr: u32, size: u32, cas: u32),
        "proxy_set_shared_data" => set_data(key: u32, key_len: u32, value: u32, value_len: u32, cas: u32),
        "proxy_register_shared_queue" => register_queue(name: u32, name_len: u32, token: u32),
        "proxy_resolve_shared_queue" => resolve_queue(vm: u32, vm_len: u32, name: u32, name_len: u32, token: u32),
        "proxy_enqueue_shared_queue" => enqueue(token: u32, data: u32, len: u32),
        "proxy_dequeue_shared_queue" => dequeue(token: u32, ptr: u32, size: u32),
        "proxy_define_metric" => define_metric(kind: u32, name: u32, name_len: u32, id: u32),
        "proxy_increment_metric" => increment_metric(id: u32, offset: i64),
        "proxy_record_metric" => record_metric(id: u32, value: u64),
        "proxy_get_metric" => get_metric(id: u32, value: u32),
    );
    Ok(())
}

fn get_data(ctx: &mut Ctx<'_>, key: u32, key_len: u32, ptr: u32, size: u32, cas: u32) -> Done {
    let key = read(ctx, key, key_len)?;
    let state = ctx.data();
    let (value, number) = state.process.shared_data(&state.settings.vm_id, key).ok_or(Status::NotFound)?;
    give(ctx, &value, ptr, size)?;
    write_u32(ctx, cas, number)
}

fn set_data(ctx: &mut Ctx<'_>, key: u32, key_len: u32, value: u32, value_len: u32, cas: u32) -> Done {
    let (key, value) = (read(ctx, key, key_len)?, read(ctx, value, value_len)?);
    let state = ctx.data();
    Ok(state.process.set_shared_data(&state.settings.vm_id, key, value, cas)?)
}

fn register_queue(ctx: &mut Ctx<'_>, name: u32, name_len: u32, token: u32) -> Done {
    let name = read(ctx, name, name_len)?;
    let state = ctx.data();
    let id = state.process.register_queue(&state.settings.vm_id, &name, state.vm, state.root_id());
    write_u32(ctx, token, id)
}

fn resolve_queue(ctx: &mut Ctx<'_>, vm: u32, vm_len: u32, name: u32, name_len: u32, token: u32) -> Done {
    let (vm, name) = (read(ctx, vm, vm_len)?, read(ctx, name, name_len)?);
    let state = ctx.data();
    let vm = if vm.is_empty() { state.settings.vm_id.clone() } else { String::from_utf8_lossy(&vm).into_owned() };
    let id = state.process.resolve_queue(&vm, &name).ok_or(Status::NotFound)?;
    write_u32(ctx, token, id)
}

fn enqueue(ctx: &mut Ctx<'_>, token: u32, data: u32, len: u32) -> Done {
    let data = read(ctx, data, len)?;
    Ok(ctx.data().process.enqueue(token, data)?)
}

fn dequeue(ctx: &mut Ctx<'_>, token: u32, ptr: u32, size: u32) -> Done {
    let item = ctx.data().process.dequeue(token)?;
    give(ctx, &item, ptr, size)
}

fn define_metric(ctx: &mut Ctx<'_>, kind: u32, name: u32, name_len: u32, id: u32) -> Done {
    let name = String::from_utf8_lossy(&read(ctx, name, name_len)?).into_owned();
    let kind = match kind {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Histogram,
        _ => return Err(Status::BadArgument.into()),
    };
    let state = ctx.data_mut();
    let next = state.next_metric.get_mut(kind as usize).ok_or(Status::InternalFailure)?;
    *next = next.wrapping_add(4);
    let number = *next;
    state.process.define_metric(kind, &name);
    state.metrics.insert(number, (kind, name));
    write_u32(ctx, id, number)
}

/// Kind and name of the metric with this id. The kind lies in the low bits, so even an unknown id has one.
fn metric(ctx: &Ctx<'_>, id: u32) -> Result<String, Halt> {
    match (ctx.data().metrics.get(&id), id & 3) {
        (Some((_, name)), _) => Ok(name.clone()),
        (None, 3) => Err(Status::BadArgument.into()),
        (None, _) => Err(Status::NotFound.into()),
    }
}

fn change(ctx: &Ctx<'_>, id: u32, change: impl FnOnce(&mut Metric) -> Result<(), Status>) -> Done {
    let name = metric(ctx, id)?;
    Ok(ctx.data().process.with_metric(&name, change).ok_or(Status::NotFound)??)
}

fn increment_metric(ctx: &mut Ctx<'_>, id: u32, offset: i64) -> Done {
    if id & 3 == MetricKind::Histogram as u32 {
        return Err(Status::BadArgument.into());
    }
    change(ctx, id, |metric| match metric {
        // A counter refuses to stand still or go back.
        Metric::Counter(value) if offset > 0 => {
            *value = value.wrapping_add(offset.unsigned_abs());
            Ok(())
        }
        Metric::Gauge(value) => {
            *value = value.wrapping_add_signed(offset);
            Ok(())
        }
        Metric::Counter(_) | Metric::Histogram(_) => Err(Status::BadArgument),
    })
}

fn record_metric(ctx: &mut Ctx<'_>, id: u32, new: u64) -> Done {
    change(ctx, id, |metric| {
        match metric {
            Metric::Counter(value) => *value = value.wrapping_add(new),
            Metric::Gauge(value) => *value = new,
            Metric::Histogram(values) => values.push(new),
        }
        Ok(())
    })
}

fn get_metric(ctx: &mut Ctx<'_>, id: u32, value: u32) -> Done {
    if id & 3 == MetricKind::Histogram as u32 {
        return Err(Status::BadArgument.into());
    }
    let name = metric(ctx, id)?;
    let current = match ctx.data().process.metric(&name) {
        Some(Metric::Counter(v) | Metric::Gauge(v)) => v,
        _ => return Err(Status::NotFound.into()),
    };
    write_u64(ctx, value, current)
}
