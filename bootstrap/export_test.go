package bootstrap

// Overdue is what status finds of the age of the newest set.
var Overdue = overdue
