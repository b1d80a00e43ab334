//! `images --filter`.

use std::str::FromStr;

use brig_engine::{Error, ImageSummary, Result, Timestamp};

use super::super::values::moment;
use super::{has_label, key_and_value, matches, parse_bool, same_variant};

/// A filter of `images`.
#[derive(Clone, Debug)]
pub(crate) enum ImageFilter {
    Before(String),
    /// Images without a name; brig's all have one.
    Dangling(bool),
    Label(String),
    NotLabel(String),
    Reference(String),
    Since(String),
    Until(Timestamp),
}

impl FromStr for ImageFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = key_and_value(text)?;
        Ok(match key {
            "before" => Self::Before(value.into()),
            "dangling" => Self::Dangling(parse_bool(value)?),
            "label" => Self::Label(value.into()),
            "label!" => Self::NotLabel(value.into()),
            "reference" => Self::Reference(value.into()),
            "since" => Self::Since(value.into()),
            "until" => Self::Until(moment(value).map_err(|error| error.to_string())?),
            _ => {
                return Err(
                    "the filters are before, dangling, label, label!, reference, since and until".into()
                );
            }
        })
    }
}

impl ImageFilter {
    /// What `images PATTERN` means.
    pub(crate) fn of_pattern(pattern: String) -> Self {
        Self::Reference(pattern)
    }
}

/// The filters of one `images`.
#[derive(Debug)]
pub(crate) struct ImageFilters<'a> {
    filters: Vec<(&'a ImageFilter, Option<Timestamp>)>,
}

impl<'a> ImageFilters<'a> {
    /// Looks up what `before` and `since` name.
    pub(crate) fn new(filters: &'a [ImageFilter], all: &[ImageSummary]) -> Result<Self> {
        let known = |filter: &'a ImageFilter| {
            let moment = match filter {
                ImageFilter::Before(name) | ImageFilter::Since(name) => created(all, name)?,
                ImageFilter::Until(moment) => Some(*moment),
                _ => None,
            };
            Ok((filter, moment))
        };
        Ok(Self { filters: filters.iter().map(known).collect::<Result<_>>()? })
    }

    /// Whether an image passes.
    pub(crate) fn admit(&self, image: &ImageSummary) -> bool {
        super::admit(
            &self.filters,
            |(one, _), (other, _)| same_variant(*one, *other),
            |(filter, _)| matches!(filter, ImageFilter::Label(_) | ImageFilter::NotLabel(_)),
            |(filter, moment)| holds(filter, *moment, image),
        )
    }
}

/// When the image of this name or id was made.
fn created(all: &[ImageSummary], name: &str) -> Result<Option<Timestamp>> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let is_it = |image: &&ImageSummary| {
        let whole = format!("{}:{}", image.repository, image.tag);
        let latest = image.tag == "latest" && image.repository == name;
        let id = hex.len() >= 4 && image.id.hex().starts_with(hex);
        whole == name || latest || image.reference == name || id
    };
    let found =
        all.iter().find(is_it).ok_or_else(|| Error::ImageNotFound { name: name.into(), root: None })?;
    Ok(found.created)
}

/// An image that doesn't say when it was made is from the beginning of time.
fn holds(filter: &ImageFilter, moment: Option<Timestamp>, image: &ImageSummary) -> bool {
    match filter {
        ImageFilter::Before(_) | ImageFilter::Until(_) => image.created < moment,
        ImageFilter::Since(_) => image.created > moment,
        ImageFilter::Dangling(dangling) => image.is_unnamed() == *dangling,
        ImageFilter::Label(label) => has_label(&image.labels, label),
        ImageFilter::NotLabel(label) => !has_label(&image.labels, label),
        ImageFilter::Reference(pattern) => is_named(image, pattern),
    }
}

/// Whether the pattern is that of the repository, or of repository and tag.
fn is_named(image: &ImageSummary, pattern: &str) -> bool {
    let whole = format!("{}:{}", image.repository, image.tag);
    [&image.repository, &whole, &image.reference]
        .iter()
        .any(|name| matches(pattern.as_bytes(), name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn image(name: &str, created: Option<&str>) -> ImageSummary {
        let digest: brig_engine::Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        ImageSummary {
            repository: name.into(),
            tag: "latest".into(),
            reference: format!("docker.io/library/{name}:latest"),
            digest: digest.clone(),
            id: digest,
            platforms: Vec::new(),
            kinds: Vec::new(),
            created: created.map(|time| time.parse().unwrap()),
            size: 0,
            labels: BTreeMap::from([("tier".into(), name.into())]),
        }
    }

    #[test]
    fn images_pass_by_time_label_and_name() {
        let all = [
            image("old", Some("2020-01-01T00:00:00Z")),
            image("middle", Some("2021-01-01T00:00:00Z")),
            image("new", Some("2022-01-01T00:00:00Z")),
            image("undated", None),
        ];
        for (filters, expected) in [
            (&["before=middle"][..], "old undated"),
            (&["since=middle:latest"], "new"),
            (&["until=2021-06-01T00:00:00Z"], "old middle undated"),
            (&["dangling=true"], ""),
            (&["dangling=false", "label=tier=new"], "new"),
            (&["label!=tier=new", "since=old"], "middle"),
            (&["label=tier", "label=tier=old"], "old"),
            (&["reference=o*", "reference=new:l*"], "old new"),
            (&["reference=o*", "since=middle"], ""),
        ] {
            let filters: Vec<ImageFilter> = filters.iter().map(|text| text.parse().unwrap()).collect();
            let filters = ImageFilters::new(&filters, &all).unwrap();
            let names: Vec<_> =
                all.iter().filter(|one| filters.admit(one)).map(|one| one.repository.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{filters:?}");
        }
        let filters = ["since=nothing".parse().unwrap()];
        assert!(ImageFilters::new(&filters, &all).is_err());
    }

    #[test]
    fn wrong_filters_say_which_there_are() {
        for text in ["colour=red", "reference", "dangling=perhaps", "until=yesterday"] {
            assert!(text.parse::<ImageFilter>().is_err(), "{text}");
        }
    }
}
