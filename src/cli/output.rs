//! Where results go: a file that is whole or not there, a pipe or device, or standard output.
//!
//! A file is written beside its name (`NAME.part`) and takes the name when it is whole, so that what stood there before
//! stays until then, and stays for good if the command fails. Nothing is written over a capture that is being read.

use crate::cli::Failure;
use anyhow::{Context, anyhow};
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Does the name stand for standard output?
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses outputs that are one of the inputs, whatever their names, or each other. Changes nothing.
///
/// # Errors
/// The first such output, as wrong usage.
pub fn refuse_clashes(inputs: &[PathBuf], outputs: &[(&str, &Path)]) -> Result<(), Failure> {
    for (index, (option, path)) in outputs.iter().enumerate() {
        let names = [path.to_path_buf(), part_of(path)];
        let read = inputs.iter().find(|input| names.iter().any(|name| is_same(name, &opened_as(input))));
        if let Some(input) = read {
            let (path, input) = (path.display(), input.display());
            return Err(Failure::Usage(anyhow!(
                "{option} {path} would overwrite the capture {input} that is to be read; name another file"
            )));
        }
        let other = outputs.iter().take(index).find(|(_, other)| other == path || is_same(other, path));
        if let Some((other, _)) = other {
            let path = path.display();
            return Err(Failure::Usage(anyhow!(
                "{other} and {option} both write to {path}; name another file for one"
            )));
        }
    }
    Ok(())
}

fn opened_as(input: &Path) -> PathBuf {
    if input == Path::new("-") { "/dev/stdin".into() } else { input.to_owned() }
}

/// One regular file, by whichever names.
fn is_same(left: &Path, right: &Path) -> bool {
    let identity = |data: Metadata| data.is_file().then(|| (data.dev(), data.ino()));
    let [left, right] = [left, right].map(|path| fs::metadata(path).ok().and_then(identity));
    left.is_some() && left == right
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Buffered lines on their way to where they belong.
pub struct Output {
    name: PathBuf,
    out: BufWriter<Box<dyn Write + Send>>,
    /// The file being written and the name it takes at the end.
    pending: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// Begins an output; `-` is standard output. With `watched` a file is written in place, for those who follow it.
    ///
    /// # Errors
    /// What cannot be written, by name.
    pub fn create(path: &Path, watched: bool) -> anyhow::Result<Output> {
        let mut pending = None;
        let out: Box<dyn Write + Send> = if is_stdout(path) {
            Box::new(io::stdout())
        } else {
            let known = fs::metadata(path).ok();
            let in_place = watched || known.as_ref().is_some_and(|data| !data.is_file());
            let file = if in_place {
                File::create(path).with_context(|| format!("create {}", path.display()))?
            } else {
                // A link keeps pointing where it does: the file behind it is the one that is replaced.
                let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                let part = part_of(&target);
                let file = File::create(&part).with_context(|| {
                    format!("create {}, which becomes {} when it is whole", part.display(), path.display())
                })?;
                if let Some(data) = known {
                    file.set_permissions(data.permissions()).with_context(|| format!("chmod {}", part.display()))?;
                }
                pending = Some((part, target));
                file
            };
            Box::new(file)
        };
        Ok(Output { name: path.to_owned(), out: BufWriter::with_capacity(1 << 16, out), pending })
    }

    /// As it was named.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Everything was written: the file takes its name.
    ///
    /// # Errors
    /// What cannot be written or renamed.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        match &self.pending {
            Some((part, target)) => fs::rename(part, target)?,
            None => return Ok(()),
        }
        self.pending = None;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Output {
    /// Half a result is none; what had the name before keeps it.
    fn drop(&mut self) {
        if let Some((part, _)) = &self.pending {
            // If it cannot be removed, its name still says what it is.
            let _ = fs::remove_file(part);
        }
    }
}
